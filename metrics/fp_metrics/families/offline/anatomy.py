"""Anatomy: how certain MediaPipe's networks are of a person, and whether limbs keep their lengths."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fp_metrics.estimator import Estimator, Score
from fp_metrics.functional import limbs
from fp_metrics.networks import bodies
from fp_metrics.networks.bodies import Body, Part
from fp_metrics.observer import Observer

HANDS, FACES = 2, 1


@dataclass(frozen=True, eq=False)
class Person:
    """The most certain person of a frame.

    Attributes:
        body: the landmarks.
        hands: at most two, of anybody in the frame.
        faces: at most one, of anybody in the frame.
        size: height and width of the frame.
    """

    body: Body
    hands: tuple[Part, ...]
    faces: tuple[Part, ...]
    size: tuple[int, int]


class PersonObserver(Observer):
    """Finds the person that the detector is most certain of in every 4th frame, or nobody: `Person` or None.

    Every look is for itself, as for a still picture: nothing is tracked, so that values are local. Hands and
    faces are looked for only where there is a person.
    """

    every: int = 4
    weights: ClassVar[tuple[str, ...]] = bodies.WEIGHTS
    settings: ClassVar[dict[str, Any]] = {
        "persons": 1,
        "hands": HANDS,
        "faces": FACES,
        "least score": bodies.PRESENT,
        "least visibility": limbs.LEAST_VISIBILITY,
        "least limbs": limbs.LEAST_LIMBS,
        "farthest move": limbs.FARTHEST_MOVE,
        "runtime": "LiteRT, float32",
    }

    def keep(self, frame: Tensor, position: int) -> NDArray[np.uint8]:
        """The frame as bytes ``(h, w, 3)``."""
        bytes_ = (frame.clamp(0, 1) * 255).round().to(torch.uint8)
        return np.ascontiguousarray(bytes_.movedim(0, -1).cpu().numpy())

    def look(
        self, windows: Sequence[Sequence[NDArray[np.uint8]]], starts: Sequence[int]
    ) -> list[Person | None]:
        """The person in each frame."""
        return [_person(picture) for (picture,) in windows]


def _person(picture: NDArray[np.uint8]) -> Person | None:
    found = bodies.find_bodies(picture)
    if not found:
        return None
    hands, faces = bodies.find_hands(picture, HANDS), bodies.find_faces(picture, FACES)
    height, width = picture.shape[:2]
    return Person(found[0], tuple(hands), tuple(faces), (height, width))


class LandmarkConfidence(Estimator):
    """How certain the networks are of the person in the frame, and of the hands and face they find.

    Mean of `certainty` over the parts that are found: the body, up to two hands and a face. Falls where a
    person stops looking like one. Without a person it is undefined, also where there was one before: read its
    coverage beside it.
    """

    score: ClassVar[Score] = "anatomy"
    name: ClassVar[str] = "offline/landmark-confidence"
    family: ClassVar[str] = "offline"
    observer: ClassVar[type[Observer]] = PersonObserver

    @classmethod
    def unavailable(cls) -> str | None:
        """Why it cannot run here; None where it can."""
        return bodies.unavailable()

    def measure(self, window: Sequence[Person | None], position: int) -> float:
        """Mean certainty of the parts found in one frame."""
        (person,) = window
        if person is None:
            return float("nan")
        body = person.body
        visibility, presence = torch.from_numpy(body.visibility), torch.from_numpy(body.presence)
        parts = [limbs.certainty(body.detection, body.confidence, visibility, presence)]
        parts += [limbs.certainty(part.detection, part.confidence) for part in (*person.hands, *person.faces)]
        return float(torch.stack(parts).mean())

    def undefined(self) -> str:
        """Why."""
        return "no person was found"


class LimbStability(Estimator):
    """How constant a person's limb lengths are from one look to the next, up to a common scale.

    Undefined where fewer than 3 limbs are seen in both looks, or the most certain person is another one.
    """

    score: ClassVar[Score] = "anatomy"
    name: ClassVar[str] = "offline/limb-stability"
    family: ClassVar[str] = "offline"
    observer: ClassVar[type[Observer]] = PersonObserver
    window: ClassVar[int] = 2

    @classmethod
    def unavailable(cls) -> str | None:
        """Why it cannot run here; None where it can."""
        return bodies.unavailable()

    def measure(self, window: Sequence[Person | None], position: int) -> float:
        """`limb_stability` between two looks."""
        first, second = window
        if first is None or second is None:
            return float("nan")
        before, after = (torch.from_numpy(person.body.points[:, :2]) for person in (first, second))
        seen = _seen(first) & _seen(second)
        if not seen.any() or not limbs.same_person(before, after, seen):
            return float("nan")
        return float(limbs.limb_stability(before, after, seen))

    def undefined(self) -> str:
        """Why."""
        return f"no person with {limbs.LEAST_LIMBS} visible limbs was found in two looks in a row"


def _seen(person: Person) -> Tensor:
    points, visibility = torch.from_numpy(person.body.points[:, :2]), torch.from_numpy(person.body.visibility)
    return limbs.landmarks_seen(points, visibility, *person.size)
