import struct

import matplotlib as mpl
import numpy as np
import pytest
from reported_run import metrics, summary

from sg_pipeline.reporting.figures import learning_curve, moving_average


def size(png: bytes) -> tuple[int, int]:
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", png[16:24])


@pytest.fixture(scope="module")
def full_size() -> tuple[int, int]:
    return size(learning_curve(metrics()))


def test_learning_curve_ignores_row_order_and_user_style():
    found = summary()
    once = learning_curve(metrics(), found["base"], found["final"])
    with mpl.rc_context({"lines.linewidth": 9, "font.size": 30}):  # a user's own settings
        assert learning_curve(list(reversed(metrics())), found["base"], found["final"]) == once
        assert mpl.rcParams["font.size"] == 30
    assert b"Software" not in once
    assert once != learning_curve(metrics(success_rate=0.5), found["base"], found["final"])


@pytest.mark.parametrize(
    ("steps", "changes"),
    [
        (0, {}),
        (1, {"phase": None, "training": None}),
        (2, {"success_rate": None, "lambda": None, "trust_reason": "words"}),
    ],
)
def test_learning_curve_of_a_short_or_sparse_run_leaves_panels_without_values_out(full_size, steps, changes):
    width, height = size(learning_curve(metrics(steps, **changes), summary()["base"]))
    assert width == full_size[0]
    assert height < full_size[1]


def test_learning_curve_without_guidance_has_no_panel_of_it(full_size):
    """Its lambda is 0 throughout, its correlation may be defined; success and training are left."""
    silent = {f"{label}_share": None for label in ("positive", "neutral", "negative")}
    _, height = size(learning_curve(metrics(3, **silent), summary()["base"]))
    assert height < 0.8 * full_size[1]


def test_moving_average_skips_nan():
    values = np.array([0.0, 3.0, np.nan, 6.0, 9.0])
    assert moving_average(values, 3) == pytest.approx([1.5, 1.5, 4.5, 7.5, 7.5])
    assert np.isnan(moving_average(np.array([np.nan, np.nan]), 3)).all()
