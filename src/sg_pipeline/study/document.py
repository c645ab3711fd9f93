"""The study as a document, in Markdown and as sections of an HTML page: the same texts, tables and figures in both."""

from collections.abc import Mapping
from statistics import median
from typing import NamedTuple

from sg_pipeline.reporting.page.elements import Section, figure_html, paragraph, report_table
from sg_pipeline.reporting.run_tables import ReportTable
from sg_pipeline.reporting.text import bare_percent, table
from sg_pipeline.study import tables
from sg_pipeline.study.figures import FIGURES
from sg_pipeline.study.questions import Found
from sg_pipeline.study.statistics import NOISE


class Part(NamedTuple):
    """One part of the document; `anchor` names it in links, `figures` are names in `figures.FIGURES`."""

    anchor: str
    title: str
    texts: tuple[str, ...] = ()
    tables: tuple[ReportTable, ...] = ()
    figures: tuple[str, ...] = ()


def study_parts(found: Found) -> list[Part]:
    """Return the document's parts: the answers, then the dials, which come before every success rate."""
    return [
        Part("setting", "What was compared", tuple(_setting(found))),
        Part("answers", "Answers", (caution(found),), (tables.answers_table(found),)),
        Part("dials", "Guidance through training: the dials", (), (tables.dials_table(found),), ("dials",)),
        Part("calibration", "Does the guidance predict the outcome?", (), (tables.calibration_table(found),),
             ("reliability",)),
        Part("results", "Success", (), (tables.main_table(found), tables.inference_table(found)), ("comparison",)),
        Part("pairs", "Methods against each other", (), (tables.pair_table(found),)),
        Part("curves", "Learning curves", (), (tables.speed_table(found),), ("curves",)),
        Part("schedules", "Schedules", (), (tables.schedule_table(found),), ("schedules",)),
        Part("cross-checkpoint", "Guidance of other checkpoints", (), (tables.cross_table(found),),
             ("cross_checkpoint",)),
        Part("paper", "In the paper's layout", (), (tables.paper_layout(found),)),
        Part("task-types", "By task type", (), (tables.task_type_table(found),)),
        Part("costs", "Costs", (), (tables.cost_table(found),)),
    ]  # fmt: skip


def study_markdown(found: Found, figures: Mapping[str, str]) -> str:
    """Write the study; `figures` are name -> path relative to the document, others are left out."""
    lines = ["# Study"]
    for part in study_parts(found):
        lines += [f"## {part.title}", *part.texts]
        for content in part.tables:
            shown = [table(content.head, content.rows, content.text_columns), content.note]
            lines += shown if content.rows else [content.empty]
        lines += [f"![{FIGURES[name][1]}]({figures[name]})" for name in part.figures if name in figures]
    return "\n\n".join(lines) + "\n"


def study_sections(found: Found, figures: Mapping[str, bytes]) -> list[Section]:
    """Write the study as sections of a page; `figures` are of `figures.draw_figures`."""
    sections = []
    for part in study_parts(found):
        pieces = [paragraph(*part.texts), *(report_table(content) for content in part.tables)]
        pieces += [figure_html(figures[name], FIGURES[name][1]) for name in part.figures if name in figures]
        sections.append(Section(part.anchor, part.title, "\n".join(piece for piece in pieces if piece)))
    return sections


def caution(found: Found) -> str:
    """Say how many comparisons were made, and how many of them hold after a correction for that number."""
    rows = found["pairs"]["rows"]
    if not rows:
        return "No two methods have a seed in common, so none were compared."
    outside = [row for row in rows if row["verdict"] != NOISE]
    half_width = bare_percent(median((row["ci95"][1] - row["ci95"][0]) / 2 for row in rows))
    one_seed = " One seed: the intervals are of the games only." if len(found["setting"]["seeds"]) == 1 else ""
    return (
        f"Comparisons of methods: {len(rows)} ({0.05 * len(rows):.1f} would leave the noise by chance), outside the "
        f"noise: {len(outside)}, also after Holm's correction: {sum(row['survives'] for row in outside)}; median "
        f"half-width of the intervals: {half_width} points. Inference, calibration and checkpoints are not "
        f"corrected.{one_seed}"
    )


def _setting(found: Found) -> list[str]:
    about = found["setting"]
    runs = "; ".join(f"{m['title']} (seeds {', '.join(map(str, m['seeds']))})" for m in found["methods"].values())
    texts = [
        f"Ours: {tables.our_setting(found)}; {about['environment']}, {' or '.join(map(str, about['steps']))} steps, "
        f"temperature {about['temperature']}. These values are of this small policy on these games and not comparable "
        f"with published ones.",
        f"{about['runs']} runs: {runs}.",
    ]
    return [*texts, f"Not run: {', '.join(found['not_run'].values())}."] if found["not_run"] else texts
