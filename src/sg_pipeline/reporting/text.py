"""Numbers as text: percentages, intervals, durations, Markdown tables."""

import math
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean

NONE = "–"  # noqa: RUF001
"""An undefined value."""


def percent(value: float | None) -> str:
    """0.525 -> "52.5 %"."""
    return NONE if value is None else f"{100 * value:.1f} %"


def bare_percent(value: float | None) -> str:
    """0.525 -> "52.5"."""
    return NONE if value is None else f"{100 * value:.1f}"


def points(value: float | None) -> str:
    """0.125 -> "+12.5"."""
    return NONE if value is None else f"{100 * value:+.1f}"


def number(value: float | None, digits: int = 2) -> str:
    """1.234 -> "1.23"."""
    return NONE if value is None else f"{value:.{digits}f}"


def interval(bounds: Sequence[float] | None, form: Callable[[float | None], str]) -> str:
    """[low, high], each formatted by `form`; "" for None."""
    return "" if bounds is None else f"[{form(bounds[0])}, {form(bounds[1])}]"


def duration(seconds: float | None) -> str:
    """125.0 -> "2 min 5 s"; below a minute, and from two hours on, with one decimal."""
    if seconds is None:
        return NONE
    if seconds >= 7200:
        return f"{seconds / 3600:.1f} h"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def mean(values: Iterable[float | None]) -> float | None:
    """Mean of the defined values; None without any."""
    found = [float(value) for value in values if value is not None and math.isfinite(value)]
    return fmean(found) if found else None


def table(head: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int = 1) -> str:
    """A Markdown table; the first `text_columns` columns to the left, the others to the right."""
    rule = [*[":---"] * text_columns, *["---:"] * (len(head) - text_columns)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))
