"""Reading study.json: what tables, figures and answers have in common."""

from collections.abc import Mapping
from typing import Any

Found = Mapping[str, Any]
"""Of `results.compare_runs`."""

MAIN_GUIDED = ("grpo_sg", "grpo_sg_gr", "dapo_sg", "dapo_sg_gr")
"""Whose guidance is asked about first."""

SCHEDULE_VARIANTS = ("immediate", "entry_15", "entry_25", "no_annealing")


def title(found: Found, method: str) -> str:
    """How a method is called, run or not."""
    about = found["methods"].get(method)
    return str(about["title"] if about else found["not_run"].get(method, method))


def main_guided(found: Found) -> list[str]:
    """Return the methods whose own guidance is asked about: the main ones, or else all that write any."""
    writers = [method for method, about in found["methods"].items() if about["writes_guidance"]]
    return [method for method in writers if method in MAIN_GUIDED] or writers


def is_graded(found: Found) -> bool:
    """Whether scores say more than who has won."""
    return any(
        "score" in entry.get(part, {})
        for modes in found["scores"].values()
        for by_split in modes.values()
        for entry in by_split.values()
        for part in ("base", "final")
    )
