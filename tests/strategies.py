"""Hypothesis strategies for valid recipe names.

Text only, written after the grammar and independent of the printer: the runtime type checks draw from the
global random state, which a strategy must not touch, so tests call ``parse`` themselves.
"""

from hypothesis import strategies as st

_short_kernels = st.sampled_from(["k1", "k2", "k4", "k8", "k16"])
# Six columns per token belong to no short kernel, so the full form is the canonical one.
_full_kernels = st.builds("k{}h{}w6".format, st.integers(1, 9), st.integers(1, 9).map(lambda n: 2 * n))
_levels = st.builds("f{}{}".format, st.integers(1, 20), _short_kernels | _full_kernels)
_runs = st.lists(_levels, min_size=1, max_size=3).map("".join)
_codebooks = st.sampled_from(["", "", "+D", "+D1", "+D64"])


@st.composite
def _sides(draw: st.DrawFn, most_runs: int) -> list[str]:
    """The words of one side, from the outer end inwards."""
    runs = draw(st.lists(_runs, max_size=most_runs))
    words = ["_x_".join(runs)] if runs else []
    if len(runs) == 1:
        words = draw(st.sampled_from([[], ["td"], ["ta"], ["tc"]])) + words
    return words + (draw(st.sampled_from([[], ["x"]])) if runs else [])


@st.composite
def names(draw: st.DrawFn, most_right_runs: int = 3) -> str:
    """A canonical name with up to three runs on the left."""
    left, right = draw(_sides(3)), draw(_sides(most_right_runs))
    section = f"g{draw(st.integers(1, 12))}{draw(_codebooks)}"
    return "_".join([*left, section, *right[::-1]])
