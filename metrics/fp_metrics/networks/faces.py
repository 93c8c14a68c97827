"""The face of a frame by dlib: found, aligned and embedded."""

import functools
import importlib.util
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fp_metrics.weights import weights_path

ARTIFACTS = ("dlib-face-landmarks-5", "dlib-face-embedding")
SIDE = 480
"""Frames are scaled to this shorter side: the detector finds faces of 80 pixels and more, a sixth of it."""
SAME_PERSON = 0.6
"""Published threshold: embeddings of one person are nearer than this."""
MISSING = "faces need dlib: pip install -e '.[faces]'"


@dataclass(frozen=True, eq=False)
class FaceTools:
    """dlib's detector (its weights lie in dlib itself), landmarks, embedding, and how a face is cut out."""

    detect: Any
    landmarks: Any
    embedding: Any
    cut: Any


def unavailable() -> str | None:
    """Why faces cannot be looked for, with the command that helps; None if they can."""
    return None if importlib.util.find_spec("dlib") is not None else MISSING


@functools.cache
def load_faces() -> FaceTools:
    """The tools of dlib, loaded once per process.

    Raises:
        ImportError: dlib is not installed; names the command.
        MissingWeights: an artifact is not there.
    """
    try:
        import dlib
    except ImportError as error:
        raise ImportError(MISSING) from error
    landmarks, embedding = (str(weights_path(name)) for name in ARTIFACTS)
    return FaceTools(
        dlib.get_frontal_face_detector(),
        dlib.shape_predictor(landmarks),
        dlib.face_recognition_model_v1(embedding),
        dlib.get_face_chip,
    )


def embed_single_face(frame: Float[Tensor, "3 h w"]) -> Float[Tensor, "128"] | None:
    """The embedding of a frame's face; None where there is none, or more than one.

    Frontal faces by HOG, five landmarks, cut out upright at 150x150, ResNet embedding.

    Args:
        frame: RGB in [0, 1].

    Source:
        http://dlib.net/face_recognition.py.html; King, "Dlib-ml: A Machine Learning Toolkit", JMLR 2009.
    """
    tools, picture = load_faces(), _scaled(frame)
    faces = tools.detect(picture)
    if len(faces) != 1:
        return None
    chip = tools.cut(picture, tools.landmarks(picture, faces[0]))
    return torch.tensor(np.array(tools.embedding.compute_face_descriptor(chip)), dtype=torch.float32)


def _scaled(frame: Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Uint8 ``(h, w, 3)`` with a shorter side of `SIDE`; small frames grow, as its window does not."""
    picture = (frame.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    scale = SIDE / min(picture.shape[:2])
    size = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.ascontiguousarray(cv2.resize(picture, size, interpolation=how), dtype=np.uint8)
