"""What arms cost, in figures that are readable whatever the size of the arms."""

from dataclasses import replace

import pandas as pd
import pytest

from fp_lab.lab.arm_tables import cost_table
from fp_lab.lab.gathered import Arm, Gathered
from fp_lab.lab.tables import to_text
from fp_lab.recipe import parse


@pytest.mark.parametrize(
    ("tflops", "shown"),
    [((0.00151, 0.000976), "0.00151"), ((50.31, 48.2), "50.3"), ((7210.0, 9000.0), "7,210")],
)
def test_operations_have_three_figures(tflops: tuple[float, float], shown: str) -> None:
    names = ("td_f2k1_g3", "g3")
    arms = tuple(Arm(name, parse(name), name, 0, (0,), ()) for name in names)
    efficiency = pd.DataFrame({"arm": names, "training_tflop": tflops})
    nothing = pd.DataFrame()
    gathered = Gathered(arms, nothing, nothing, {}, efficiency, nothing, {}, (), ())
    assert shown in to_text(cost_table(gathered))
    unknown = replace(gathered, efficiency=efficiency.drop(columns="training_tflop"))
    assert "–" in to_text(cost_table(unknown))
