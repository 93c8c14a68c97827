"""MediaPipe's pose, hand and face landmark networks, without the mediapipe package.

The files run in `ai-edge-litert`, the TensorFlow Lite runtime that mediapipe contains, packed by itself.
OpenCV's dnn cannot run them: it has no DENSIFY operator for the sparse pose detector, hands out only one of
a network's outputs, and takes four times as long on one core. Newer mediapipe packages accept numpy 2, but
come without these files and bring an OpenCV that overwrites the headless one. On 25 pictures landmarks agree
within one pixel, mostly within 0.1, with mediapipe 0.10.21 (`static_image_mode`, `model_complexity=1`).
"""

import functools
import importlib.util
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fp_metrics.networks import blaze
from fp_metrics.networks.blaze import Detections, Floats, Region
from fp_metrics.weights import weights_path

Picture = NDArray[np.uint8]

PRESENT = 0.5
"""Least score of a detection, and of the presence that a landmark network then gives it."""


@dataclass(frozen=True)
class Detector:
    """What a detector's file does not say about it.

    Attributes:
        artifact: name of its weights.
        size: side of its input, pixels.
        strides: pixels per cell of each layer of anchors.
        black: value of black in its input; white is 1.
    """

    artifact: str
    size: int
    strides: tuple[int, ...]
    black: float


PERSON_DETECTOR = Detector("mediapipe-pose-detection", 224, (8, 16, 32, 32, 32), -1.0)
PALM_DETECTOR = Detector("mediapipe-palm-detection", 192, (8, 16, 16, 16), 0.0)
FACE_DETECTOR = Detector("mediapipe-face-detection", 128, (8, 16, 16, 16), -1.0)
POSE_LANDMARKS, HAND_LANDMARKS, FACE_LANDMARKS = (
    f"mediapipe-{part}-landmarks" for part in ("pose", "hand", "face")
)
WEIGHTS = (
    PERSON_DETECTOR.artifact,
    POSE_LANDMARKS,
    PALM_DETECTOR.artifact,
    HAND_LANDMARKS,
    FACE_DETECTOR.artifact,
    FACE_LANDMARKS,
)
"""The artifacts that are read here."""


@dataclass(frozen=True, eq=False)
class Part:
    """A hand or a face, and what a `Body` has in common with them.

    Attributes:
        points: ``(n, 3)``: x, y in pixels of the picture, and the depth z in about the same unit (larger is
            farther away).
        confidence: that it is there, in (0.5, 1], as the landmark network says.
        detection: the same as the detector says.
    """

    points: Floats
    confidence: float
    detection: float


@dataclass(frozen=True, eq=False)
class Body(Part):
    """A person's 33 landmarks.

    Attributes:
        visibility: ``(33,)`` in [0, 1]: that a landmark is in the picture and nothing hides it.
        presence: ``(33,)`` in [0, 1]: that a landmark is in the picture.
    """

    visibility: Floats
    presence: Floats


def find_bodies(picture: Picture, at_most: int = 1) -> list[Body]:
    """People in a picture, the one that the detector is most certain of first.

    Args:
        picture: ``(h, w, 3)``, RGB.
        at_most: how many.
    """
    found = _detect(PERSON_DETECTOR, picture)
    regions = [blaze.person_region(keypoints) for keypoints in found.keypoints[:at_most]]
    bodies = (_body(picture, region, score) for region, score in zip(regions, found.scores, strict=False))
    return [body for body in bodies if body.confidence > PRESENT]


def find_hands(picture: Picture, at_most: int = 2) -> list[Part]:
    """Hands in a picture: 21 landmarks each, z from the wrist. Arguments as for `find_bodies`."""
    found = _detect(PALM_DETECTOR, picture)
    places = zip(found.boxes[:at_most], found.keypoints, found.scores, strict=False)
    hands = (_hand(picture, blaze.hand_region(box, keypoints), score) for box, keypoints, score in places)
    return [hand for hand in hands if hand.confidence > PRESENT]


def find_faces(picture: Picture, at_most: int = 1) -> list[Part]:
    """Faces in a picture: 468 landmarks each, z from the face's middle. Arguments as for `find_bodies`.

    The detector is made for faces of at least a seventh of the picture.
    """
    found = _detect(FACE_DETECTOR, picture)
    places = zip(found.boxes[:at_most], found.keypoints, found.scores, strict=False)
    faces = (_face(picture, blaze.face_region(box, keypoints), score) for box, keypoints, score in places)
    return [face for face in faces if face.confidence > PRESENT]


def _detect(detector: Detector, picture: Picture) -> Detections:
    """What a detector finds in a whole picture, in pixels of it."""
    region = blaze.whole(*picture.shape[:2])
    seen = blaze.cut_out(picture, region, detector.size, repeat_border=False).astype(np.float32)
    scale = (1 - detector.black) / 255
    raw, logits = _run(detector.artifact, seen * np.float32(scale) + np.float32(detector.black))
    anchors = _anchors(detector)
    found = blaze.decode(raw[0], logits[0, :, 0], anchors, detector.size, PRESENT)
    return blaze.placed(blaze.blend_overlapping(found), region)


def _body(picture: Picture, region: Region, detection: float) -> Body:
    values, presence, _, heatmaps, _ = _run(POSE_LANDMARKS, _upright(picture, region, 256))
    rows = values.reshape(39, 5)[:33].astype(np.float64)  # six more only lead a tracker
    rows[:, :2] = 256 * blaze.refine(rows[:, :2] / 256, heatmaps[0, :, :, :33])
    visible, present = blaze.sigmoid(rows[:, 3:]).T
    return Body(
        _points(rows[:, :3] / 256, region), float(presence.item()), float(detection), visible, present
    )


def _hand(picture: Picture, region: Region, detection: float) -> Part:
    values, presence, _, _ = _run(HAND_LANDMARKS, _upright(picture, region, 224))
    rows = values.reshape(21, 3).astype(np.float64) / 224
    return Part(_points(rows / (1, 1, 0.4), region), float(presence.item()), float(detection))


def _face(picture: Picture, region: Region, detection: float) -> Part:
    values, logit = _run(FACE_LANDMARKS, _upright(picture, region, 192))
    rows = values.reshape(468, 3).astype(np.float64) / 192
    presence = blaze.sigmoid(logit.astype(np.float64))
    return Part(_points(rows, region), float(presence.item()), float(detection))


def _upright(picture: Picture, region: Region, size: int) -> NDArray[np.float32]:
    return blaze.cut_out(picture, region, size, repeat_border=True).astype(np.float32) / np.float32(255)


def _points(rows: Floats, region: Region) -> Floats:
    """Landmarks ``(n, 3)`` of a region, [0, 1], in pixels of the picture."""
    return np.column_stack((blaze.to_picture(rows[:, :2], region), rows[:, 2] * region.side))


@functools.cache
def _anchors(detector: Detector) -> Floats:
    return blaze.anchor_centres(detector.size, detector.strides)


def _run(artifact: str, picture: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """The outputs of a network, in the order of its file, for one picture ``(s, s, 3)``."""
    interpreter = _interpreter(artifact)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture[None])
    interpreter.invoke()
    return [interpreter.get_tensor(output["index"]) for output in interpreter.get_output_details()]


@functools.cache
def _interpreter(artifact: str) -> Any:
    """A network, loaded once per process; one thread, so that it always rounds the same way."""
    if reason := unavailable():
        raise ImportError(reason)
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(weights_path(artifact)), num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def unavailable() -> str | None:
    """Why the networks cannot run here; None where they can."""
    if importlib.util.find_spec("ai_edge_litert") is None:
        return "needs the LiteRT runtime: pip install -e '.[bodies]'"
    return None
