"""What the study's figures share: how a PNG is made, and the marks on it."""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sg_pipeline.reporting.figures import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALETTE = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY, BLACK, GREY)
"""Okabe and Ito's: told apart by colour-blind readers too."""


def render(size: tuple[float, float], heading: str, draw: Callable[["Figure"], None]) -> bytes:
    """Make a PNG, the same bytes for the same drawing: of this size in inches, under this heading."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context():
        mpl.rcdefaults()  # a user's matplotlibrc does not change the bytes
        mpl.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
        mpl.rcParams.update({"legend.edgecolor": "none", "legend.framealpha": 0.85, "legend.fontsize": 8})
        figure = Figure(figsize=size, dpi=120, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        figure.suptitle(heading, fontsize=12, fontweight="bold")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def interval_bar(ax: "Axes", figure: Mapping[str, Any], y: float, colour: str, marker: str, label: str | None) -> None:
    """A value with its interval, in per cent, lying on row y."""
    value, (low, high) = figure["value"], figure["ci95"]
    errors = np.clip([[100 * (value - low)], [100 * (high - value)]], 0, None)
    ax.errorbar([100 * value], [y], xerr=errors, color=colour, marker=marker, capsize=3, linestyle="", label=label)


def name_rows(ax: "Axes", names: Sequence[str]) -> None:
    """Name the rows, the first at the top."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(max(len(names), 1) - 0.5, -0.5)


def banded_line(
    ax: "Axes", x: np.ndarray, curve: Mapping[str, Any] | None, scale: float, colour: str, label: str,
    *, band: bool = True, dash: str = "-",
) -> None:  # fmt: skip
    """A curve of `curves.learning_curves`, with its band from the lowest to the highest seed."""
    if curve is None:
        return
    middle, low, high = (scale * np.array([np.nan if v is None else v for v in curve[n]], dtype=float)
                         for n in ("mean", "least", "most"))  # fmt: skip
    ax.plot(x, middle, color=colour, linewidth=1.6, linestyle=dash, label=label)
    if band:
        ax.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
