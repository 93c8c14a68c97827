"""Pieces of a video that were measured apart, and when they are the video measured at once."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Piece:
    """Values of one metric on some frames of a video.

    Attributes:
        values: float64 ``(m,)``.
        positions: int64 ``(m,)``.
        runs: int64 ``(k, 2)``: first frame of each run of consecutive frames, and the frame after its last
            one, in the order in which they were taken.
    """

    values: Tensor
    positions: Tensor
    runs: Tensor

    @classmethod
    def empty(cls, device: torch.device) -> "Piece":
        """A piece without frames."""
        runs = torch.zeros(0, 2, dtype=torch.int64, device=device)
        return cls(torch.zeros(0, dtype=torch.float64, device=device), runs[:, 0], runs)

    @property
    def frames(self) -> int:
        """Number of frames."""
        return int((self.runs[:, 1] - self.runs[:, 0]).sum())

    @property
    def end(self) -> int:
        """The frame after the last one."""
        return int(self.runs[:, 1].max()) if len(self.runs) else 0

    def with_values(
        self, values: Sequence[float], positions: Sequence[int], frames: Sequence[int]
    ) -> "Piece":
        """This piece with the values of new frames."""
        rows = self.runs.tolist()
        for frame in frames:
            if rows and rows[-1][1] == frame:
                rows[-1][1] += 1
            else:
                rows.append([frame, frame + 1])
        return Piece(
            torch.cat((self.values, self.values.new_tensor(values))),
            torch.cat((self.positions, self.positions.new_tensor(positions))),
            self.runs.new_tensor(rows).reshape(-1, 2),
        )

    def after(self, frames: int) -> "Piece":
        """This piece so many frames later."""
        return Piece(self.values, self.positions + frames, self.runs + frames)

    def overlaps(self, other: "Piece") -> bool:
        """Whether both have a frame in common."""
        return any(a < d and c < b for a, b in self.runs.tolist() for c, d in other.runs.tolist())


def join(
    pieces: Sequence[Piece],
    *,
    name: str,
    span: int = 1,
    every: int = 1,
    remembers: bool = False,
    by_position: bool = False,
) -> Piece:
    """One piece of several, if it is what the metric would have measured on all their frames at once.

    A piece that begins at frame 0, as another one before it, was counted apart: its frames follow.

    Args:
        pieces: of one video.
        name: of the metric.
        span: consecutive frames that one value looks at.
        every: frames from one value to the next.
        remembers: whether a value depends on frames before those that it looks at.
        by_position: whether a value depends on which frames of the video it looks at.

    Raises:
        ValueError: it is not, with the metric's name and the reason.
    """
    pieces = [piece for piece in pieces if len(piece.runs)]
    if len(pieces) < 2:
        return pieces[0] if pieces else Piece.empty(torch.device("cpu"))
    advice = "measure the whole video with one metric, in one process"
    refused = f"{name}: got a video in {len(pieces)} pieces"
    if remembers:
        raise ValueError(f"{refused}, but its values depend on earlier frames, such as the first; {advice}")
    placed = [pieces[0]]
    for piece in pieces[1:]:
        if any(piece.overlaps(other) for other in placed):
            if int(piece.runs[0, 0]) != 0:
                raise ValueError(f"{refused} that have frames in common, expected each frame in one of them")
            if by_position:
                raise ValueError(
                    f"{refused} that begin at frame 0, but its values depend on which frames they are of; "
                    "give update the positions of the frames in the video"
                )
            piece = piece.after(max(other.end for other in placed))
        placed.append(piece)
    rows = sorted((*run, index) for index, piece in enumerate(placed) for run in piece.runs.tolist())
    beginning = rows[0][0]
    for (_, stop, before), (start, _, after) in itertools.pairwise(rows):
        if start != stop:
            beginning = start
        elif before != after and span > 1:
            raise ValueError(
                f"{refused} that meet at frame {start}, but its values look at {span} frames at once: those "
                f"across frame {start} would be lost; {advice}"
            )
        elif before != after and (start - beginning) % every:
            raise ValueError(
                f"{refused} that meet at frame {start}, but it looks at every {every}th frame from frame "
                f"{beginning} on; let them meet at a multiple of {every}"
            )
    parts = zip(*((piece.values, piece.positions, piece.runs) for piece in placed), strict=True)
    return Piece(*map(torch.cat, parts))
