"""The results of a study as tables of text; those of the guidance are in `guidance_tables`."""

from collections.abc import Mapping
from typing import Any

from sg_pipeline.reporting.run_tables import MODE_TITLES, ReportTable
from sg_pipeline.reporting.text import NONE, bare_percent, duration, interval, number, points
from sg_pipeline.study import published
from sg_pipeline.study.found import Found, is_graded, title
from sg_pipeline.study.statistics import NOISE

BASE = "base (no training)"


def with_interval(figure: Mapping[str, Any] | None) -> str:
    """0.6 in [0.5, 0.7] -> "60.0 [50.0, 70.0]"."""
    if figure is None or figure["value"] is None:
        return NONE
    return f"{bare_percent(figure['value'])} {interval(figure['ci95'], bare_percent)}"


def change(figure: Mapping[str, Any] | None) -> str:
    """The same of a difference, with signs."""
    if figure is None or figure["value"] is None:
        return NONE
    return f"{points(figure['value'])} {interval(figure['ci95'], points)}"


def our_setting(found: Found) -> str:
    """What our figures are of, short enough for the head of a table."""
    about = found["setting"]
    weights = about["policy_weights"]
    policy = "policy" if weights is None else f"policy of {weights / 1e6:.2f} M parameters"
    digest = about["panel_sha256"]
    shown = f" {digest[:12]}" if isinstance(digest, str) else ""
    games = sorted({split["games"] for split in about["splits"].values()})
    seeds = len(about["seeds"])
    return (
        f"{policy}; {about['panel']}{shown}; {' or '.join(map(str, games))} games a split; "
        f"{seeds} seed{'s' * (seeds != 1)}"
    )


def main_table(found: Found) -> ReportTable:
    """Success of every method in the mode that it trains."""
    splits = list(found["setting"]["splits"])
    head = [
        "method",
        "played",
        *(f"{s}: {what}" for s in splits for what in ("mean", "IQM", "gain over base")),
        "seeds",
    ]
    rows = []
    for mode, by_split in found["scores"]["base"].items():
        cells = [(*_score(by_split.get(split), "base"), NONE) for split in splits]
        rows.append([BASE, MODE_TITLES[mode], *(text for cell in cells for text in cell), _seeds(by_split)])
    for method, about in found["methods"].items():
        by_split = found["scores"][method].get(about["mode"], {})
        cells = [
            (*_score(by_split.get(split), "final"), change((by_split.get(split) or {}).get("gain"))) for split in splits
        ]
        rows.append([about["title"], MODE_TITLES[about["mode"]], *(text for cell in cells for text in cell),
                     str(len(about["seeds"]))])  # fmt: skip
    note = (
        f"Ours: {our_setting(found)}. Success in per cent with 95 % intervals over seeds and games; IQM is the mean of "
        f"the middle half of the (seed, task type) scores; the gain is paired by seed and game. A policy is judged in "
        f"the mode in which it was trained."
    )
    return ReportTable(head, rows, note)


def paper_layout(found: Found) -> ReportTable:
    """Our figures and the published ones side by side, each block under the name of its model, data and scale."""
    splits = list(found["setting"]["splits"])
    ours = our_setting(found)
    # Of a benchmark that the paper does not have there is nothing to set beside.
    benchmark = published.OF_ENVIRONMENT.get(str(found["setting"]["environment"]))
    models = list(dict.fromkeys(row.model for row in published.MAIN)) if benchmark else []
    head = [
        "method",
        *(f"OURS ({ours}): {split}{', mean score' if is_graded(found) else ''}" for split in splits),
        *(f"PUBLISHED ({model}, {benchmark}, official data)" for model in models),
    ]
    rows = []
    for method in ("grpo", "grpo_sg", "grpo_sg_gr", "dapo", "dapo_sg", "dapo_sg_gr"):
        about = found["methods"].get(method)
        if about is None and method not in found["not_run"]:
            continue
        by_split = found["scores"].get(method, {}).get(about["mode"], {}) if about else {}
        figure = "score" if is_graded(found) else "mean"
        own = [
            with_interval(((by_split.get(split) or {}).get("final") or {}).get(figure)) if about else "not run"
            for split in splits
        ]
        theirs = {row.model: row.figures.get(str(benchmark)) for row in published.MAIN if row.ours == method}
        rows.append([title(found, method), *own, *(_published(theirs.get(model)) for model in models)])
    note = (
        f"Not one comparison but two: the published figures ({published.SOURCE}; no intervals given) are of other "
        f"models, other games and another scale. Compare the order of the rows within a block, never figures across "
        f"blocks."
    )
    return ReportTable(head, rows, note)


def published_table() -> ReportTable:
    """The paper's main table."""
    rows = [
        [row.model, row.method, *(_published(row.figures[benchmark]) for benchmark in published.BENCHMARKS)]
        for row in published.MAIN
    ]
    note = f"Published: {published.SOURCE}; {published.SETTING}."
    return ReportTable(["model", "method", *published.BENCHMARKS], rows, note)


def pair_table(found: Found) -> ReportTable:
    """Methods against each other."""
    rows = [
        [
            f"{title(found, row['left'])} − {title(found, row['right'])}",  # noqa: RUF001
            row["split"],
            change(row),
            f"{row['better']} / {row['worse']}",
            _share(row["probability_of_improvement"]),
            number(row["p_value"], 3),
            number(row["p_holm"], 3),
            row["verdict"] + ("" if row["verdict"] == NOISE or row["survives"] else " (not after Holm)"),
        ]
        for row in found["pairs"]["rows"]
    ]
    head = ["difference", "split", "points", "games better / worse", "P(X > Y)", "p", "p, Holm", "verdict"]
    note = (
        f"Paired by seed and game, each method in its own mode; {found['pairs']['looked_at']} comparisons, chosen "
        f"before any was looked at; Holm's p is corrected for their number. P(X > Y): that a run of X beats a run of Y "
        f"on a task type, ties counting half."
    )
    return ReportTable(head, rows, note, empty="No two methods have a seed in common, so nothing can be paired.")


def inference_table(found: Found) -> ReportTable:
    """The same policy with and without guidance."""
    rows = [
        [
            f"{BASE if row['method'] == 'base' else title(found, row['method'])}", row["split"],
            bare_percent(row["left_mean"]), bare_percent(row["right_mean"]), change(row),
            f"{row['better']} / {row['worse']}", row["verdict"],
        ]
        for row in found["inference"]
    ]  # fmt: skip
    head = ["policy", "split", "with guidance", "without", "difference", "games better / worse", "verdict"]
    note = "The same weights on the same games, paired by seed and game; of methods the final policy."
    return ReportTable(head, rows, note, empty="Policies were evaluated in one mode only.")


def schedule_table(found: Found) -> ReportTable:
    """The schedule ablation, ours beside the published one."""
    splits = list(found["setting"]["splits"])
    head = ["schedule", *(f"OURS: {split}" for split in splits), *(f"full − this, {split}" for split in splits),  # noqa: RUF001
            f"PUBLISHED ({published.SCHEDULES_SETTING})"]  # fmt: skip
    rows = []
    for row in published.SCHEDULES:
        about = found["methods"].get(row.ours)
        by_split = found["scores"][row.ours].get(about["mode"], {}) if about else {}
        differences = {pair["split"]: pair for pair in found["pairs"]["rows"]
                       if (pair["left"], pair["right"]) == ("grpo_sg_gr", row.ours)}  # fmt: skip
        rows.append([
            row.method,
            *(_score(by_split.get(split), "final")[0] if about else "not run" for split in splits),
            *(change(differences.get(split)) for split in splits),
            _published(row.success),
        ])  # fmt: skip
    note = f"Ours: {our_setting(found)}. Published: {published.SOURCE}. Compare orders within a block only."
    return ReportTable(head, rows, note)


def task_type_table(found: Found) -> ReportTable:
    """Success by task type, mean over seeds, of the final policies."""
    rows = []
    kinds: dict[str, None] = {}
    for method, about in [("base", None), *found["methods"].items()]:
        modes = found["scores"][method]
        mode = about["mode"] if about else next(iter(modes), "")
        for split, entry in modes.get(mode, {}).items():
            part = entry.get("final" if about else "base")
            if part:
                kinds.update(dict.fromkeys(part["task_types"]))
                rows.append((about["title"] if about else BASE, split, part["task_types"]))
    cells = [[name, split, *(bare_percent(by_kind.get(kind)) for kind in kinds)] for name, split, by_kind in rows]
    return ReportTable(["method", "split", *kinds], cells, "Success in per cent; few games each, so read with care.")


def cost_table(found: Found) -> ReportTable:
    """What the training of a run took."""
    rows = [
        [
            title(found, method),
            *(_thousands(cost[name]) for name in ("steps", "episodes", "turns", "tokens_sampled", "tokens_trained",
                                                  "optimizer_steps")),
            duration(cost["step_seconds"]),
            duration(cost["wall_seconds"]),
        ]
        for method, cost in found["costs"].items()
    ]  # fmt: skip
    head = [
        "method",
        "steps",
        "episodes",
        "turns",
        "tokens sampled",
        "tokens trained",
        "updates",
        "in steps",
        "whole run",
    ]
    note = (
        "Means of a run over the seeds. Tokens are those that the policy wrote. The budget that is held equal is "
        "steps and episodes trained on: guidance costs tokens, and dynamic sampling costs episodes that are thrown "
        "away. The time of a whole run includes evaluation, but not what was taken over from a run with the same "
        "beginning."
    )
    return ReportTable(head, rows, note)


def _score(entry: Mapping[str, Any] | None, part: str) -> tuple[str, str]:
    """(mean, interquartile mean) with intervals."""
    found = (entry or {}).get(part) or {}
    return with_interval(found.get("mean")), with_interval(found.get("iqm"))


def _seeds(by_split: Mapping[str, Any]) -> str:
    return str(max((entry["base"]["mean"]["seeds"] for entry in by_split.values()), default=0))


def _share(figure: Mapping[str, Any]) -> str:
    return f"{number(figure['value'])} {interval(figure['ci95'], number)}"


def _published(value: float | None) -> str:
    return NONE if value is None else f"{value:.1f}"


def _thousands(value: float | None) -> str:
    return NONE if value is None else f"{value:,.0f}"
