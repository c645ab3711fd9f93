"""Scores beside success, where a benchmark grades its episodes; tables without rows where it does not."""

from sg_pipeline.reporting.run_tables import MODE_TITLES, ReportTable
from sg_pipeline.reporting.text import NONE, number
from sg_pipeline.study.found import Found, is_graded, title
from sg_pipeline.study.tables import BASE, change, with_interval


def score_table(found: Found) -> ReportTable:
    """Mean score of every method in the mode that it trains."""
    splits = list(found["setting"]["splits"])
    rows = []
    for mode, by_split in found["scores"]["base"].items():
        cells = [
            (with_interval(((by_split.get(split) or {}).get("base") or {}).get("score")), NONE) for split in splits
        ]
        rows.append([BASE, MODE_TITLES[mode], *(text for cell in cells for text in cell)])
    for method, about in found["methods"].items():
        by_split = found["scores"][method].get(about["mode"], {})
        entries = [by_split.get(split) or {} for split in splits]
        cells = [
            (with_interval((entry.get("final") or {}).get("score")), change(entry.get("score_gain")))
            for entry in entries
        ]
        rows.append([about["title"], MODE_TITLES[about["mode"]], *(text for cell in cells for text in cell)])
    head = ["method", "played", *(f"{s}: {what}" for s in splits for what in ("mean score", "gain over base"))]
    note = "Mean score in per cent of the highest, otherwise as above."
    return ReportTable(head, rows if is_graded(found) else [], note)


def score_pair_table(found: Found) -> ReportTable:
    """Methods against each other by their scores."""
    rows = [
        [
            f"{title(found, row['left'])} − {title(found, row['right'])}",  # noqa: RUF001
            row["split"],
            change(row["score"]),
            f"{row['score']['better']} / {row['score']['worse']}",
            number(row["score"]["p_value"], 3),
            row["score"]["verdict"],
        ]
        for row in found["pairs"]["rows"]
        if row.get("score")
    ]
    head = ["difference", "split", "points of score", "games better / worse", "p", "verdict"]
    return ReportTable(head, rows, "The same by mean score; p as it is, not corrected.")
