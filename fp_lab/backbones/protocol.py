"""What the method asks of a video diffusion transformer."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

from fp_lab.packing.rope import RopeConfig
from fp_lab.shapes import PackedContext, TextCondition


@runtime_checkable
class Backbone(Protocol):
    """A transformer over [context tokens, noisy tokens] with text.

    Attributes:
        width: of a token.
        channels: of a latent frame.
        rope: frequencies of its rotary phases, for the packer.
    """

    width: int
    channels: int
    rope: RopeConfig

    def encode_text(self, captions: Sequence[str]) -> TextCondition:
        """Encode captions once; the result serves every denoising step."""
        ...

    def __call__(
        self,
        noisy: Tensor,
        times: Tensor,
        timesteps: Tensor,
        text: TextCondition,
        context: PackedContext | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Predict velocity or clean latents of the noisy section.

        Args:
            noisy: ``b c t h w``.
            times: frame indices of the noisy frames, int64 ``b t``.
            timesteps: 1000 * sigma, ``b``, or ``b n`` for one per token, context first.
            text: encoded captions.
            context: packed context; None without history.
            attention_mask: bool ``b n n`` over [context, noisy], True where a query may look.

        Returns:
            ``b c t h w``.
        """
        ...
