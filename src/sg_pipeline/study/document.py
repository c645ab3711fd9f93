"""The study to read, in Markdown and as sections of an HTML page: the same sentences, tables and figures in both."""

from collections.abc import Mapping
from dataclasses import dataclass

from sg_pipeline.reporting.page.elements import Section, bullets, figure_html, paragraph, report_table
from sg_pipeline.reporting.run_tables import ReportTable
from sg_pipeline.reporting.text import table
from sg_pipeline.study import guidance_tables, score_tables, tables
from sg_pipeline.study.figures import FIGURES
from sg_pipeline.study.found import Found
from sg_pipeline.study.questions import caution


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the document.

    Attributes:
        anchor: names it in links.
        title: its heading.
        texts: paragraphs; plain but for `**strong**`.
        tables: in order.
        figures: names in `figures.FIGURES`.
    """

    anchor: str
    title: str
    texts: tuple[str, ...] = ()
    tables: tuple[ReportTable, ...] = ()
    figures: tuple[str, ...] = ()


def study_parts(found: Found) -> list[Part]:
    """Return the document's parts: the answers, then the dials, which come before every success rate."""
    questions = [
        Part(f"question-{index}", answer["question"], (f"**{answer['short']}**", *answer["sentences"]))
        for index, answer in enumerate(found["questions"], start=1)
    ]
    return [
        Part("setting", "What was compared", (*_setting(found), caution(found))),
        *questions,
        Part("dials", "Guidance through training: the dials", (), (guidance_tables.dials_table(found),), ("dials",)),
        Part("calibration", "Does the guidance foretell the outcome?", (), (guidance_tables.calibration_table(found),),
             ("reliability",)),
        Part("results", "Success", (), (tables.main_table(found), *_scores(found), tables.inference_table(found)),
             ("comparison",)),
        Part("pairs", "Methods against each other", (), (tables.pair_table(found), *_score_pairs(found))),
        Part("curves", "Learning curves", (), (), ("curves",)),
        Part("schedules", "Schedules", (), (tables.schedule_table(found),), ("schedules",)),
        Part("cross-checkpoint", "Guidance of other checkpoints", (), (guidance_tables.cross_table(found),),
             ("cross_checkpoint",)),
        Part("paper", "In the paper's layout", (), (tables.paper_layout(found),)),
        Part("published", "Published figures", (), (tables.published_table(),)),
        Part("task-types", "By task type", (), (tables.task_type_table(found),)),
        Part("costs", "What it cost", (), (tables.cost_table(found),)),
    ]  # fmt: skip


def study_markdown(found: Found, figures: Mapping[str, str]) -> str:
    """Write the study.

    Args:
        found: of `results.compare_runs`.
        figures: name -> path relative to the document; others are left out.
    """
    lines = ["# Study"]
    for part in study_parts(found):
        question = part.anchor.startswith("question-")
        lines.append(f"{'###' if question else '##'} {part.title}")
        lines += [part.texts[0], "\n".join(f"- {text}" for text in part.texts[1:])] if question else part.texts
        for content in part.tables:
            shown = table(content.head, content.rows) if content.rows else content.empty
            lines += [shown, content.note] if content.rows else [shown]
        lines += [f"![{FIGURES[name][1]}]({figures[name]})" for name in part.figures if name in figures]
    return "\n\n".join(line for line in lines if line) + "\n"


def study_sections(found: Found, figures: Mapping[str, bytes]) -> list[Section]:
    """Write the study as sections of a page.

    Args:
        found: of `results.compare_runs`.
        figures: of `figures.draw_figures`; one that is not there is left out.
    """
    parts = study_parts(found)
    answers = [part for part in parts if part.anchor.startswith("question-")]
    sections = []
    for part in parts:
        if part is answers[0]:
            sections.append(Section("answers", "Answers", "\n".join(_answer(answer) for answer in answers)))
        if part not in answers:
            pieces = [paragraph(*part.texts) if part.texts else "", *(report_table(content) for content in part.tables)]
            pieces += [figure_html(figures[name], FIGURES[name][1]) for name in part.figures if name in figures]
            sections.append(Section(part.anchor, part.title, "\n".join(piece for piece in pieces if piece)))
    return sections


def _scores(found: Found) -> list[ReportTable]:
    """Where episodes are graded, scores beside success."""
    return [content] if (content := score_tables.score_table(found)).rows else []


def _score_pairs(found: Found) -> list[ReportTable]:
    return [content] if (content := score_tables.score_pair_table(found)).rows else []


def _answer(part: Part) -> str:
    question = paragraph(f"**{part.title}** {part.texts[0].strip('*')}", kind="verdict")
    return f"{question}\n{bullets(part.texts[1:])}"


def _setting(found: Found) -> list[str]:
    about = found["setting"]
    runs = "; ".join(f"{m['title']} (seeds {', '.join(map(str, m['seeds']))})" for m in found["methods"].values())
    steps = " or ".join(map(str, about["steps"]))
    texts = [
        f"Ours: {tables.our_setting(found)}; {about['environment']}, {steps} steps, temperature "
        f"{about['temperature']}. "
        f"These figures are of this small policy on these games: they must not be set beside published ones.",
        f"{about['runs']} runs: {runs}.",
    ]
    return [*texts, f"Not run: {', '.join(found['not_run'].values())}."] if found["not_run"] else texts
