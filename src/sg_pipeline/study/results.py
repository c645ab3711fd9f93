"""study.json: everything that the comparison of runs came to. Tables, figures and answers are made from it alone.

    {setting, methods: {method: {title, mode, writes_guidance, seeds, runs}}, not_run, questions, dials, calibration,
     scores, pairs, inference, curves, costs, cross_checkpoint}

`setting` says what was played, by whom and how often; the other parts are described where they are made.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sg_pipeline.config.evaluation import WITH_GUIDANCE
from sg_pipeline.errors import DataError
from sg_pipeline.reporting.summary import json_ready
from sg_pipeline.study.calibration import calibration
from sg_pipeline.study.comparison import Study, group_runs, guidance_at_inference, pairs, scores
from sg_pipeline.study.cross import Cell, cross_checkpoint
from sg_pipeline.study.curves import costs, learning_curves
from sg_pipeline.study.dials import guidance_dials
from sg_pipeline.study.questions import answer_questions
from sg_pipeline.study.records import RunRecord, check_comparable


def compare_runs(
    records: Sequence[RunRecord], titles: Mapping[str, str], cross: Sequence[Cell] = (), seed: int = 0
) -> dict[str, Any]:
    """Compare the runs of a study.

    Args:
        records: its finished runs.
        titles: method -> how it is called, in the order of the tables; methods without a run are named as not run.
        cross: scores of the cross-checkpoint evaluation.
        seed: names the random streams of the intervals.

    Returns:
        JSON-ready, see the module's docstring.

    Raises:
        DataError: there is no run, or two of them cannot be compared.
    """
    if not records:
        raise DataError("the study has no finished run: study.methods and study.seeds must name at least one.")
    check_comparable(records)
    study = group_runs(records, titles, seed)
    found: dict[str, Any] = {
        "setting": _setting(study),
        "methods": {
            method: {
                "title": study.titles[method],
                "mode": study.mode(method),
                "writes_guidance": study.mode(method) == WITH_GUIDANCE and not runs[0].parameters.get("rollout.guide"),
                "seeds": [run.seed for run in runs],
                "runs": [run.name for run in runs],
            }
            for method, runs in study.runs.items()
        },
        "not_run": {method: title for method, title in titles.items() if method not in study.runs},
        "dials": guidance_dials(study),
        "calibration": calibration(study),
        "scores": scores(study),
        "pairs": pairs(study),
        "inference": guidance_at_inference(study),
        "curves": learning_curves(study),
        "costs": costs(study),
        "cross_checkpoint": cross_checkpoint(study, cross),
    }
    found["questions"] = answer_questions(found)
    return dict(json_ready(found))


def headline(found: Mapping[str, Any]) -> dict[str, Any]:
    """Pick the few figures that two versions of a study are compared by: method -> split -> success with interval."""
    rows: dict[str, Any] = {}
    for method, about in found["methods"].items():
        for split, entry in found["scores"][method].get(about["mode"], {}).items():
            if "final" in entry:
                mean = entry["final"]["mean"]
                figures = {"success": mean["value"], "low": mean["ci95"][0], "high": mean["ci95"][1]}
                gain = entry.get("gain")
                rows.setdefault(method, {})[split] = figures | ({"gain": gain["value"]} if gain else {})
    return rows


def curve_rows(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return training success by step, one row a step with a column a method, as `dvc plots` draws it."""
    curves = {
        method: curve["success_rate"]["mean"] for method, curve in found["curves"].items() if curve["success_rate"]
    }
    steps = max(map(len, curves.values()), default=0)
    return [
        {"step": step, **{method: values[step] for method, values in curves.items() if step < len(values)}}
        for step in range(steps)
    ]


def _setting(study: Study) -> dict[str, Any]:
    first = study.records[0]
    splits = first.final[first.mode]
    return {
        "policy_weights": first.policy_weights,
        "environment": first.parameters.get("environment.name"),
        "panel": first.panel,
        "panel_sha256": first.panel_sha256,
        "splits": {
            split: {"games": len(score["per_game"]), "episodes": score.get("episodes")}
            for split, score in sorted(splits.items())
        },
        "temperature": first.parameters.get("evaluate.temperature"),
        "steps": sorted({len(run.metrics) for run in study.records}),
        "seeds": sorted({run.seed for run in study.records}),
        "runs": len(study.records),
    }
