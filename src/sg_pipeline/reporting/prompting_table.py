"""prompting.md: the comparison of prompting methods."""

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from sg_pipeline.evaluation.metrics import is_graded
from sg_pipeline.reporting.text import bare_percent, interval, number, points, table

_SUCCESS = ("method", "success %", "95 % interval", "difference", "95 % interval")
_SCORE = ("score %", "95 % interval", "difference", "95 % interval")
_COST = ("trials", "turns", "tokens written", "tokens read", "invalid actions %", "turns without thought %")


def comparison_markdown(comparison: Mapping[str, Any]) -> str:
    """Write the comparison of `prompting_scores.compare` as Markdown; undefined values are dashes."""
    about = comparison["about"]
    parts = [
        f"# Prompting methods, run `{about['run']}`",
        "\n".join(f"- {name.replace('_', ' ')}: {value}" for name, value in about.items() if name != "run"),
    ]
    for split, rows in groupby(comparison["rows"], key=lambda row: row["split"]):
        lines = list(rows)
        parts += [f"## {split}, {lines[0]['episodes']} episodes of {lines[0]['games']} games"]
        graded = is_graded(*lines)
        head = (*_SUCCESS, *(_SCORE if graded else ()), *_COST)
        parts += [table(head, [_cells(row, lines, graded) for row in lines])]
    return "\n\n".join([*parts, _note(comparison)]) + "\n"


def _cells(row: Mapping[str, Any], rows: list[Mapping[str, Any]], graded: bool) -> list[str]:
    several = sum(other["method"] == row["method"] for other in rows) > 1
    trials = f", up to {row['trial']} trial{'s' if row['trial'] > 1 else ''}" if several else ""
    difference, cost = row["difference"] or {}, row["cost"]
    return [
        f"{row['title']}{trials}{'' if row['single_trial'] else ' †'}",
        bare_percent(row["success_rate"]),
        interval(row["ci95"], bare_percent),
        points(difference.get("difference")),
        interval(difference.get("ci95"), points),
        *(_score_cells(row, difference) if graded else ()),
        number(cost["trials"]),
        number(cost["turns"], 1),
        number(cost["sampled_tokens"], 0),
        number(cost["context_tokens"], 0),
        bare_percent(row["invalid_action_share"]),
        bare_percent(cost["no_thought_share"]),
    ]


def _score_cells(row: Mapping[str, Any], difference: Mapping[str, Any]) -> list[str]:
    # If every episode of this method scores 0 or 1, success is the score.
    change = difference.get("score", difference)
    return [
        bare_percent(row.get("score", row["success_rate"])),
        interval(row.get("score_ci95", row["ci95"]), bare_percent),
        points(change.get("difference")),
        interval(change.get("ci95"), points),
    ]


def _note(comparison: Mapping[str, Any]) -> str:
    reference = next((row["title"] for row in comparison["rows"] if row["method"] == comparison["reference"]), None)
    sentences = ["Trials, turns and tokens are means per episode over all its trials, reflections included."]
    if reference:
        sentences.append(f"Differences are in points to {reference}, paired by game.")
    if any(not row["single_trial"] for row in comparison["rows"]):
        sentences.append(
            "† repeats a failed game, knowing that it failed: not comparable with single-trial methods at equal cost; "
            "a game solved in a later trial counts as solved from that trial on."
        )
    return "\n".join(sentences)
