"""Nodes that compare the study's runs."""

import logging
from pathlib import Path
from typing import Any

from sg_pipeline.config.run import RunConfig
from sg_pipeline.config.study import StudyConfig
from sg_pipeline.study.plan import PlannedRun

logger = logging.getLogger(__name__)


def make_comparison(runs: list[PlannedRun]) -> Any:
    """Return the node function that compares `runs`."""

    def compare(study: StudyConfig, run: RunConfig, data: Path, **made: Any) -> tuple[Any, Any, Any]:
        """Compare all runs, each question paired by seed and game.

        Args:
            study, run: parameters; the seed names the bootstrap's random streams.
            data: the data folder, for the runs' tables.
            made: summaries of all runs, and the cross-checkpoint tables: they must be there.

        Returns:
            (study.json; the success rates alone, for `dvc metrics`; the learning curves alone, for `dvc plots`).
        """
        from sg_pipeline.study.records import read_record
        from sg_pipeline.study.results import compare_runs, curve_rows, headline

        records = [read_record(data, planned.method, planned.seed, planned.name) for planned in runs]
        cells = [
            {**cell, "method": planned.method, "seed": planned.seed}
            for planned in runs
            for cell in made.get(f"cross_{planned.method}_{planned.seed}", [])
        ]
        titles = {method: study.titles.get(method, method) for method in study.all_methods}
        found = compare_runs(records, titles, cells, run.seed)
        for answer in found["questions"]:
            logger.info("%s %s", answer["question"], answer["short"])
        return found, headline(found), curve_rows(found)

    return compare


def draw(found: dict[str, Any]) -> dict[str, bytes]:
    """Draw the study's figures: name -> PNG."""
    from sg_pipeline.study.figures import draw_figures

    return draw_figures(found)


def write_tables(found: dict[str, Any], figures: dict[str, bytes]) -> str:
    """Write the study in Markdown; figures lie in the folder `figures` beside it."""
    from sg_pipeline.study.document import study_markdown

    return study_markdown(found, {name: f"figures/{name}.png" for name in figures})


def make_page(runs: list[PlannedRun]) -> Any:
    """Return the node function that writes the page of `runs`."""

    def write_page(
        study: StudyConfig, run: RunConfig, data: Path, found: dict[str, Any], figures: dict[str, bytes]
    ) -> str:
        """Write the study as one HTML page with trajectories to read.

        Args:
            study, run: parameters; the seed chooses among trajectories.
            data: the data folder, for the trajectories.
            found, figures: of `compare` and `draw`.
        """
        from sg_pipeline.reporting.page import build_page, paragraph
        from sg_pipeline.study.document import study_sections
        from sg_pipeline.study.records import read_record
        from sg_pipeline.study.sources import viewer_sources

        records = [read_record(data, planned.method, planned.seed, planned.name) for planned in runs]
        sources = [source for record in records for source in viewer_sources(record)]
        lead = paragraph(*(f"**{answer['question']}** {answer['short']}" for answer in found["questions"]))
        title = f"Self-Guide: the study “{study.name}”"
        return build_page(title, lead, study_sections(found, figures), sources, seed=run.seed)

    return write_page
