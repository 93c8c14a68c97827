"""Opening a video file: whatever its name is, and nothing that a decoder could wait for without end."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av

_LARGE, _ON_DISK = 1 << 30, 0.05  # a large file of which less than this share is on disk has nothing inside


MEGAPIXELS = 16.8
"""Of a frame, at most: 4096x4096. A decoder holds several; scoring takes about 0.2 GB of memory for each."""


def fault_of(path: str | Path) -> str:
    """Why a file is not even opened: it cannot be, it is no file, or it is a hole; "" where nothing is wrong.

    Opening a pipe or a device waits for a writer that may never come; a sparse file of a terabyte takes hours
    to read, and is an unfinished download.
    """
    try:
        found = os.stat(path)  # noqa: PTH116 - a path of bytes or text alike
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if not stat.S_ISREG(found.st_mode):
        return f"is {_kind(found.st_mode)}, expected a file"
    if not os.access(path, os.R_OK):
        return "cannot be read: Permission denied"
    on_disk = 512 * getattr(found, "st_blocks", found.st_size)
    if found.st_size > _LARGE and on_disk < _ON_DISK * found.st_size:
        return f"is nearly empty: {on_disk} of its {found.st_size} bytes are on disk; an unfinished download?"
    return ""


@contextmanager
def open_video(path: str | Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """A file's container and its first video stream.

    Raises:
        ValueError: It cannot be opened or decoded, or holds no picture; the message begins with the path.
    """
    if fault := fault_of(path):
        raise ValueError(f"{path}: {fault}")
    opened = False
    try:
        # "file:", or the text before a colon of the name would be a protocol; the list keeps playlists local
        with av.open(f"file:{path}", options={"protocol_whitelist": "file"}) as container:
            opened = True
            if not container.streams.video:
                raise ValueError(f"{path}: holds no video stream")
            yield container, container.streams.video[0]
    except av.FFmpegError as error:
        fault = "decoded" if opened else "read"
        raise ValueError(f"{path}: cannot be {fault}: {error.strerror}") from error


def require_whole(path: str | Path, stream: av.VideoStream, *, partial: bool) -> None:
    """Refuse a file that ends inside a frame, or before a frame of its index.

    A count in a header is no proof: frames that an edit list cuts, or that a recorder dropped, are in it too.

    Args:
        path: Of the file.
        stream: Read to its end.
        partial: Whether a packet of it was shorter than it says.

    Raises:
        ValueError: It is cut off.
    """
    size = Path(path).stat().st_size
    end = max((entry.pos + entry.size for entry in stream.index_entries), default=0)
    if partial or end > size:
        told = f", its index reaches to {end}" if end > size else ""
        raise ValueError(f"{path}: the file is cut off: it has {size} bytes{told}")


def require_size(
    path: str | Path,
    height: int,
    width: int,
    megapixels: float | None = None,
    advice: str = "scale it down, such as with ffmpeg -vf scale=1920:-2",
) -> None:
    """Refuse frames that would take more memory than most machines have.

    Args:
        path: of the video.
        height: of a frame, in pixels.
        width: of a frame, in pixels.
        megapixels: of a frame, at most; None for `MEGAPIXELS`.
        advice: what to do, for the end of the message.

    Raises:
        ValueError: They have more pixels.
    """
    most = MEGAPIXELS if megapixels is None else megapixels
    if height * width > most * 1e6:
        raise ValueError(
            f"{path}: its frames of {width}x{height} are {height * width / 1e6:.0f} megapixels, expected "
            f"{most:g} at most; {advice}"
        )


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "no regular file")
