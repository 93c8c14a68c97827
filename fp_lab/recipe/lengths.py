"""Lengths in whole sections: what videos are sampled at, and what training windows have to be.

All lengths are latent frames. A section that is shorter than the recipe's comes about where a length is not
whole: it touches the first frame in inverted orders, moves every index off the multiples of a section, makes
a section more than the released paddings are counted for, and in training is a length of its own.
"""

from collections.abc import Iterator, Sequence

USUAL_SECTION = 9
"""Frames per section of the released models: what is meant where no recipe is known."""


def sections_in(seconds: float, fps: float, temporal: int, section: int) -> int:
    """Sections of a video that lasts about so many seconds: ``max(1, round(seconds * fps / (T * section)))``.

    As the released inference has it (https://github.com/lllyasviel/FramePack, demo_gradio.py).

    Args:
        seconds: behind what is given.
        fps: frames of video per second.
        temporal: T, frames of video per latent frame.
        section: latent frames per section.
    """
    return max(1, round(seconds * fps / (temporal * section)))


def left_over(section: int, frames: int, given: int = 1) -> int:
    """Frames of the one section that is shorter than the others; 0 where all are whole.

    Args:
        section: frames per section.
        frames: of the video.
        given: of them, which it begins with.
    """
    return max(frames - given, 0) % section


def nearest_whole(section: int, frames: int, given: int = 1) -> tuple[int, ...]:
    """The nearest lengths of whole sections: the one below (or equal), if there is any, and the next.

    Arguments as of `left_over`.
    """
    whole = max(frames - given, 0) // section
    return tuple(given + count * section for count in (whole, whole + 1) if count)


def trained_part(section: int, frames: int, given: int) -> int:
    """Frames of a training window that are trained on, from its first.

    A window of whole sections behind its first frame is left so by any other number of given frames: what
    remains at its end is not used. Other windows are followed to their end.

    Arguments as of `left_over`.
    """
    remainder = left_over(section, frames, given)
    whole = not left_over(section, frames) and frames - remainder > given
    return frames - remainder if whole else frames


def stretches(targets: Sequence[int], longest: int) -> Iterator[range]:
    """Split frames that ascend into consecutive ones, cut to a length."""
    begin = 0
    for end in range(1, len(targets) + 1):
        if end == len(targets) or targets[end] != targets[end - 1] + 1 or end - begin == longest:
            yield range(targets[begin], targets[end - 1] + 1)
            begin = end


def not_whole(section: int, frames: int, given: int = 1, temporal: int = 1) -> str | None:
    """In words: why a length is not of whole sections, and the nearest that are; None where it is.

    Args:
        section: frames per section.
        frames: of the video.
        given: of them, which it begins with.
        temporal: frames of video per latent frame.
    """
    left = left_over(section, frames, given)
    if not left:
        return None
    whole = " or ".join(_in_words(length, temporal) for length in nearest_whole(section, frames, given))
    return (
        f"{_in_words(frames, temporal)}, {given} of them given, are not whole sections of {section}: the "
        f"shortest has {left}; whole are {whole}"
    )


def _in_words(frames: int, temporal: int) -> str:
    shown = f"{frames} latent frames"
    return shown if temporal == 1 else f"{shown} ({1 + temporal * (frames - 1)} of video)"
