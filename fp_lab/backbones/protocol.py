"""What the method asks of a video diffusion transformer."""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from fp_lab.packing.rope import RopeConfig
from fp_lab.registry import Registry
from fp_lab.shapes import Caption, ContextMemory, PackedContext, TextCondition

TRANSFORMER = "transformer"
"""Folder of a transformer of diffusers, in a model's and in a pipeline's."""


BACKBONES: Registry[Any] = Registry("backbone", ("tiny",))
"""Classes of backbones that are built from a `fp_lab.backbones.tiny.TinyDiTConfig`, which is their `config`.

Transformers of diffusers are not among them: they are loaded by the name of their own class.
"""


@runtime_checkable
class Backbone(Protocol):
    """A transformer over [context tokens, noisy tokens] with text.

    Attributes:
        width: of a token.
        channels: of a latent frame.
        depth: blocks with keys and values.
        heads: of attention.
        rope: frequencies of its rotary phases, for the packer.
    """

    width: int
    channels: int
    depth: int
    heads: int
    rope: RopeConfig

    @property
    def blocks(self) -> Iterable[nn.Module]:
        """The transformer's blocks."""
        ...

    def encode_text(
        self, captions: Sequence[Caption], images: Tensor | None = None, guidance: float | None = None
    ) -> TextCondition:
        """Encode captions once; the result serves every denoising step.

        Args:
            captions: one per video; an embedding stands for itself.
            images: embeddings of the first frames ``b i e``, for backbones that take them.
            guidance: scale for backbones whose guidance is distilled; nothing to the others.
        """
        ...

    def as_context(
        self,
        noisy: Tensor,
        times: Tensor,
        timesteps: Tensor,
        moments: Tensor | None = None,
        rope: RopeConfig | None = None,
    ) -> PackedContext:
        """A section ``b c t h w`` as tokens with phases and timesteps; arguments as in call and `prepare`."""
        ...

    def remember(
        self, context: PackedContext, text: TextCondition, past: ContextMemory | None = None
    ) -> ContextMemory:
        """Keys and values of tokens that attend to themselves and to `past`, which they are appended to.

        They attend to each other without a `PackedContext.key_bias`.

        Raises:
            ValueError: the context has no timesteps of its own.
        """
        ...

    def prepare(
        self,
        times: Tensor,
        size: tuple[int, int],
        text: TextCondition,
        context: PackedContext | ContextMemory | None = None,
        moments: Tensor | None = None,
        rope: RopeConfig | None = None,
    ) -> Any:
        """All that stays the same between the denoising steps of a section, for `denoise`.

        Args:
            times: frame indices of the noisy frames, int64 ``b t``.
            size: rows and columns of the noisy latents.
            text: as in the call.
            context: as in the call.
            moments: as in the call.
            rope: frequencies of the noisy tokens in place of the backbone's; the context was packed with it.
        """
        ...

    def denoise(
        self, noisy: Tensor, timesteps: Tensor, section: Any, attention_mask: Tensor | None = None
    ) -> Tensor:
        """The call for a section that was prepared; latents ``b c t h w`` of its shape."""
        ...

    def __call__(
        self,
        noisy: Tensor,
        times: Tensor,
        timesteps: Tensor,
        text: TextCondition,
        context: PackedContext | ContextMemory | None = None,
        attention_mask: Tensor | None = None,
        moments: Tensor | None = None,
    ) -> Tensor:
        """Predict velocity or clean latents of the noisy section: `prepare`, then `denoise`.

        Args:
            noisy: ``b c t h w``.
            times: frame indices of the noisy frames, int64 ``b t``.
            timesteps: 1000 * sigma, ``b``, or ``b t`` for one per noisy frame.
            text: encoded captions.
            context: packed context, or what was remembered of it; None without history.
            attention_mask: bool ``b n n`` over [context, noisy], True where a query may look.
            moments: distance of each noisy frame from the first of its section, int64 ``b t``; by default all
                noisy frames are one section.

        Returns:
            ``b c t h w``.
        """
        ...
