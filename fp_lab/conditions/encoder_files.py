"""Where the encoders of a real model lie: found, checked and named; nothing is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fp_lab.weights.files import read_config
from fp_lab.weights.hub import local_folder
from fp_lab.weights.pipelines import INDEX

Family = Literal["hunyuan_video", "wan"]

_PIPELINES: dict[str, Family] = {
    "HunyuanVideoPipeline": "hunyuan_video",
    "HunyuanVideoFramepackPipeline": "hunyuan_video",
    "WanPipeline": "wan",
    "WanImageToVideoPipeline": "wan",
}
_TEXT_PARTS: dict[Family, tuple[str, ...]] = {
    "hunyuan_video": ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"),
    "wan": ("text_encoder", "tokenizer"),
}
_IMAGE_PARTS: dict[Family, tuple[str, ...]] = {
    "hunyuan_video": ("image_encoder", "feature_extractor"),
    "wan": ("image_encoder", "image_processor"),
}
_LONGEST: dict[Family, int] = {"hunyuan_video": 256, "wan": 512}
_TEXT_ORIGIN: dict[Family, str] = {
    "hunyuan_video": "hunyuanvideo-community/HunyuanVideo",
    "wan": "Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
}
_IMAGE_ORIGIN: dict[Family, str] = {
    "hunyuan_video": "lllyasviel/flux_redux_bfl",
    "wan": "Wan-AI/Wan2.1-I2V-14B-480P-Diffusers",
}
_WEIGHTS = "model.safetensors"
_FORMATS = ("json", "safetensors", "model", "txt")  # no pickles
_ADVICE = (
    "for encoders download them with `hf download ID` where the hub can be reached, or name their folder"
)


@dataclass(frozen=True)
class EncoderFiles:
    """Folders in diffusers' format that hold the encoders of a family.

    Attributes:
        family: of the model that is told what they encode.
        text_folder: the pipeline's folder, with one folder per part.
        image_folder: where the image encoder and its processor are, often another pipeline's folder.
        longest: captions are cut after so many tokens; those of a prompt template do not count.
    """

    family: Family
    text_folder: Path
    image_folder: Path
    longest: int

    @property
    def has_images(self) -> bool:
        """Whether there is an image encoder; models for text alone come without."""
        return (self.image_folder / "image_encoder").is_dir()

    def text_files(self) -> tuple[Path, ...]:
        """All that the embedding of a caption depends on, sorted.

        Raises:
            ValueError: a part is missing; says where to get it and where to put it.
        """
        return self._files(self.text_folder, _TEXT_PARTS[self.family], _TEXT_ORIGIN[self.family])

    def image_files(self) -> tuple[Path, ...]:
        """All that the embedding of an image depends on, sorted.

        Raises:
            ValueError: as `text_files`.
        """
        return self._files(self.image_folder, _IMAGE_PARTS[self.family], _IMAGE_ORIGIN[self.family])

    def _files(self, folder: Path, parts: Sequence[str], origin: str) -> tuple[Path, ...]:
        for part in parts:
            for name in _expected(folder / part):
                if not (folder / part / name).is_file():
                    raise ValueError(
                        f"no {part}/{name} in {folder}, which the {self.family} conditions need; get it with "
                        f"`hf download {origin} --include '{part}/*' --local-dir {folder}`, or put it there"
                    )
        found = (path for part in parts for path in (folder / part).rglob("*"))
        return tuple(sorted(path for path in found if path.is_file() and path.suffix[1:] in _FORMATS))


def find_encoders(
    source: str | Path, image_source: str | Path | None = None, longest: int | None = None
) -> EncoderFiles:
    """Find the encoders of a pipeline; those of a hub id are downloaded once.

    Args:
        source: a pipeline's folder in diffusers' format, or a hub id such as
            ``hunyuanvideo-community/HunyuanVideo`` or ``Wan-AI/Wan2.1-T2V-1.3B-Diffusers``.
        image_source: the same for the image encoder, if it is elsewhere: HunyuanVideo comes without the one
            that FramePack takes from ``lllyasviel/flux_redux_bfl``.
        longest: tokens of a caption; by default as the released pipelines are called, 256 and 512.

    Raises:
        ValueError: nothing there, or the pipeline of no known family.
    """
    parts = (*_patterns(_TEXT_PARTS), *_patterns(_IMAGE_PARTS))
    folder = local_folder(source, (INDEX, *parts), _ADVICE)
    images = folder
    if image_source is not None:
        images = local_folder(image_source, _patterns(_IMAGE_PARTS), _ADVICE)
    index = folder / INDEX
    if not index.is_file():
        raise ValueError(
            f"no {INDEX} in {folder}, expected a pipeline in diffusers' format; get one with "
            f"`hf download {_TEXT_ORIGIN['hunyuan_video']} --local-dir {folder}`"
        )
    name = str(read_config(index).get("_class_name"))
    if name not in _PIPELINES:
        raise ValueError(f"{index} is of a {name}, expected one of {', '.join(_PIPELINES)}")
    family = _PIPELINES[name]
    longest = _LONGEST[family] if longest is None else longest
    if longest < 1:
        raise ValueError(f"captions are cut after longest = {longest} tokens, expected at least 1")
    return EncoderFiles(family, folder, images, longest)


def _patterns(parts: dict[Family, tuple[str, ...]]) -> tuple[str, ...]:
    names = {part for of_family in parts.values() for part in of_family}
    return tuple(f"{name}/*.{ending}" for name in sorted(names) for ending in _FORMATS)


def _expected(part: Path) -> tuple[str, ...]:
    """Files that a part cannot do without."""
    if part.name == "tokenizer":
        return ("tokenizer.json", "tokenizer_config.json")
    if part.name == "tokenizer_2":
        return ("tokenizer_config.json",)
    if "encoder" not in part.name:
        return ("preprocessor_config.json",)
    shards = part / f"{_WEIGHTS}.index.json"
    if not shards.is_file():
        return ("config.json", _WEIGHTS)
    weight_map = read_config(shards).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise ValueError(f"{shards}: got weight_map {weight_map!r:.60}, expected names of files by weight")
    return ("config.json", *sorted(set(weight_map.values())))
