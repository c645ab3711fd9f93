"""Shared parts of all figures: colours, how a PNG is made, and the marks on it."""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, distinguishable for colour-blind readers.
BLACK, ORANGE, SKY, GREEN, BLUE, RED, PURPLE, GREY = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7", "#8C8C8C"
)  # fmt: skip
PALETTE = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY, BLACK, GREY)


def render(draw: Callable[["Figure"], None]) -> bytes:
    """Make a PNG: `draw` draws on an empty figure. A user's matplotlibrc does not change it."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
        mpl.rcParams.update({"legend.edgecolor": "none", "legend.framealpha": 0.85, "legend.fontsize": 8})
        figure = Figure(dpi=120, layout="constrained")
        draw(figure)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def frame(figure: "Figure", width: float, height: float, heading: str) -> None:
    """Set a figure's size in inches, and its heading."""
    figure.set_size_inches(width, height)
    figure.suptitle(heading, fontsize=12, fontweight="bold")


def label(ax: "Axes", x: str = "", y: str = "", *, grid: str = "y") -> None:
    """Name the axes, and draw the lines of a grid for "x" or "y"."""
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.grid(axis=grid, color="#DDDDDD", linewidth=0.6)  # type: ignore[arg-type]


def legend_below(figure: "Figure", *axes: "Axes", columns: int = 4) -> None:
    """Put the legend of these axes below the figure, if there is anything to name."""
    named = [pair for ax in axes for pair in zip(*ax.get_legend_handles_labels(), strict=True)]
    if named:
        figure.legend(*zip(*named, strict=True), loc="outside lower center", ncols=columns)


def interval_bar(ax: "Axes", value: Mapping[str, Any], y: float, colour: str, marker: str, name: str | None) -> None:
    """Draw a value with its interval, in per cent, on row y."""
    middle, (low, high) = value["value"], value["ci95"]
    errors = np.clip([[100 * (middle - low)], [100 * (high - middle)]], 0, None)
    ax.errorbar([100 * middle], [y], xerr=errors, color=colour, marker=marker, capsize=3, linestyle="", label=name)


def name_rows(ax: "Axes", names: Sequence[str]) -> None:
    """Name the rows, the first at the top."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(max(len(names), 1) - 0.5, -0.5)
