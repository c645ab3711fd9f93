"""The study's results as tables of text, made from study.json; published values stand apart from ours.

Published: Wang et al., "Co-Evolution of Policy and Internal Reward for Language Agents", arXiv 2604.03098 (April 2026).
The paper gives no intervals, seeds or number of evaluation episodes for these values.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sg_pipeline.evaluation.calibration import LABELS, THIRDS
from sg_pipeline.reporting.run_tables import MODE_TITLES, ReportTable
from sg_pipeline.reporting.text import NONE, bare_percent, duration, interval, number, percent, points
from sg_pipeline.study.questions import SIGNS_NOTE, Found, corrected_verdict, own_scores, title

SOURCE = "Wang et al., arXiv 2604.03098"

PUBLISHED: Mapping[str, tuple[str, Mapping[str, Sequence[float]]]] = {
    "alfworld": ("ALFWorld success", {
        "grpo": (72.7, 86.7, 83.6), "grpo_sg": (81.3, 91.4, 92.2), "grpo_sg_gr": (89.8, 96.9, 95.3)}),
    "scienceworld": ("ScienceWorld score", {
        "grpo": (23.5, 51.4, 62.7), "grpo_sg": (25.3, 60.4, 69.4), "grpo_sg_gr": (28.0, 61.6, 72.6)}),
    "webshop": ("WebShop score", {
        "grpo": (63.0, 84.3, 77.5), "grpo_sg": (76.7, 87.0, 89.3), "grpo_sg_gr": (79.4, 87.8, 90.1)}),
}  # fmt: skip
"""The paper's main table: environment -> (measure, method -> value of each of `PUBLISHED_MODELS`)."""

PUBLISHED_MODELS = ("Qwen3-1.7B", "Qwen3-4B", "Qwen2.5-7B-Instruct")

PUBLISHED_SCHEDULES = {
    "grpo": 32.0, "grpo_sg": 49.2, "immediate": 39.7, "entry_15": 49.4, "entry_25": 53.8, "no_annealing": 53.2,
    "grpo_sg_gr": 56.3,
}  # fmt: skip
"""The paper's schedule ablation: WebShop success in per cent, Qwen3-1.7B."""

PUBLISHED_GUIDES = ((10, 39.8, 18.0), (40, 51.2, 25.0), (80, 60.5, 27.0))
"""The paper's cross-checkpoint study: (guide's checkpoint, score, success) on WebShop, the policy at checkpoint 40."""

_DIALS: tuple[tuple[str, str, Callable[[float | None], str]], ...] = (
    ("λ", "lambda", number),
    ("success", "success_rate", percent),
    ("positive", "positive_share", percent),
    ("neutral", "neutral_share", percent),
    ("negative", "negative_share", percent),
    ("R_sg of wins", "r_sg_wins", number),
    ("of losses", "r_sg_losses", number),
    ("gap", "r_sg_gap", number),
    ("corr(R_sg, T)", "corr_r_sg_turns", number),
    ("guidance-only groups", "guidance_only_groups", percent),
    ("AUC", "auc", number),
    ("early", "auc_early", number),
    ("middle", "auc_middle", number),
    ("late", "auc_late", number),
    ("invalid actions", "invalid_action_share", percent),
)
_COSTS = {"steps": "steps", "episodes": "episodes", "turns": "turns", "tokens sampled": "tokens_sampled",
          "tokens trained": "tokens_trained", "updates": "optimizer_steps"}  # fmt: skip


def with_interval(value: Mapping[str, Any] | None, form: Callable[[float | None], str] = bare_percent) -> str:
    """0.6 in [0.5, 0.7] -> "60.0 [50.0, 70.0]"."""
    if value is None or value["value"] is None:
        return NONE
    return f"{form(value['value'])} {interval(value['ci95'], form)}"


def is_graded(found: Found) -> bool:
    """Whether episodes have scores other than success."""
    entries = (entry for method in found["methods"] for entry in own_scores(found, method).values())
    return any("score" in entry.get("final", {}) for entry in entries)


def our_setting(found: Found) -> str:
    """Describe what our values are of, in short."""
    about = found["setting"]
    weights, digest, seeds = about["policy_weights"], about["panel_sha256"], len(about["seeds"])
    policy = "policy" if weights is None else f"policy of {weights / 1e6:.2f} M parameters"
    games = sorted({split["games"] for split in about["splits"].values()})
    return (
        f"{policy}; {about['panel']}{f' {digest[:12]}' if isinstance(digest, str) else ''}; "
        f"{' or '.join(map(str, games))} games a split; {seeds} seed{'s' * (seeds != 1)}"
    )


def answers_table(found: Found) -> ReportTable:
    """Every question with its answer, and below it the comparisons behind it."""
    rows = []
    for question in found["questions"]:
        rows.append([question["question"], "", "", question["answer"]])
        rows += [[f"↳ {row['comparison']}", row["split"], row["numbers"], row["verdict"]] for row in question["rows"]]
    note = f"Success in per cent, differences in points with 95 % intervals over seeds and games. {SIGNS_NOTE}"
    return ReportTable(["question, comparison", "split", "numbers", "answer, verdict"], rows, note, text_columns=4)


def main_table(found: Found) -> ReportTable:
    """Success of every method in the mode that it trains, with scores where episodes are graded."""
    columns = ["mean", "IQM", "gain over base", *(["mean score", "gain in score"] if is_graded(found) else [])]

    def cells(entry: Mapping[str, Any], part: str) -> list[str]:
        own, gain, score_gain = entry.get(part, {}), entry.get("gain"), entry.get("score_gain")
        success = [with_interval(own.get("mean")), with_interval(own.get("iqm")), with_interval(gain, points)]
        return [*success, with_interval(own.get("score")), with_interval(score_gain, points)][: len(columns)]

    splits = list(found["setting"]["splits"])
    every = [("base", mode, "base") for mode in found["scores"]["base"]]
    every += [(method, about["mode"], "final") for method, about in found["methods"].items()]
    rows = []
    for method, mode, part in every:
        by_split = found["scores"][method].get(mode, {})
        shown = [cell for split in splits for cell in cells(by_split.get(split, {}), part)]
        seeds = max((entry[part]["mean"]["seeds"] for entry in by_split.values() if part in entry), default=0)
        rows.append([title(found, method), MODE_TITLES[mode], *shown, str(seeds)])
    head = ["method", "played", *(f"{split}: {column}" for split in splits for column in columns), "seeds"]
    note = (
        f"Ours: {our_setting(found)}. Per cent with 95 % intervals over seeds and games; IQM: mean of the middle half "
        f"of the (seed, task type) scores; the gain is paired by seed and game."
    )
    return ReportTable(head, rows, note)


def paper_layout(found: Found) -> ReportTable:
    """Our values and the published ones side by side, each block named by its model and data."""
    splits, ours = list(found["setting"]["splits"]), our_setting(found)
    # Of a benchmark that the paper does not have there is nothing published.
    benchmark, published = PUBLISHED.get(str(found["setting"]["environment"]), ("", {}))
    models = PUBLISHED_MODELS if published else ()
    measure = "score" if is_graded(found) else "mean"
    head = [
        "method",
        *(f"OURS ({ours}): {split}{', mean score' * is_graded(found)}" for split in splits),
        *(f"PUBLISHED ({model}, {benchmark}, official data)" for model in models),
    ]
    rows = []
    for method in ("grpo", "grpo_sg", "grpo_sg_gr", "dapo", "dapo_sg", "dapo_sg_gr"):
        if method in found["methods"] or method in found["not_run"]:
            theirs = [f"{value:.1f}" for value in published[method]] if method in published else [NONE] * len(models)
            rows.append([title(found, method), *_final(found, method, measure), *theirs])
    note = (
        f"The published values ({SOURCE}; no intervals given) are of other models, games and scale: compare the order "
        f"of the rows within a block, never values across blocks."
    )
    return ReportTable(head, rows, note)


def schedule_table(found: Found) -> ReportTable:
    """The schedule ablation, ours beside the published one."""
    splits = list(found["setting"]["splits"])
    rows = []
    for method, published in PUBLISHED_SCHEDULES.items():
        differences = {row["split"]: row for row in found["pairs"]["rows"]
                       if (row["left"], row["right"]) == ("grpo_sg_gr", method)}  # fmt: skip
        rows.append([
            title(found, method), *_final(found, method, "mean"),
            *(with_interval(differences.get(split), points) for split in splits), f"{published:.1f}",
        ])  # fmt: skip
    head = ["schedule", *(f"OURS: {split}" for split in splits), *(f"full - this, {split}" for split in splits),
            "PUBLISHED (WebShop success, Qwen3-1.7B)"]  # fmt: skip
    note = f"Ours: {our_setting(found)}. Published: {SOURCE}. Compare orders within a block only."
    return ReportTable(head, rows, note)


def pair_table(found: Found) -> ReportTable:
    """Methods against each other."""
    scored = any(row.get("score") for row in found["pairs"]["rows"])
    rows = [
        [
            f"{title(found, row['left'])} - {title(found, row['right'])}",
            row["split"],
            with_interval(row, points),
            f"{row['better']} / {row['worse']}",
            with_interval(row["probability_of_improvement"], number),
            number(row["p_value"], 3),
            number(row["p_holm"], 3),
            corrected_verdict(row),
            *([f"{with_interval(row['score'], points)}, {row['score']['verdict']}"] if scored else []),
        ]
        for row in found["pairs"]["rows"]
    ]
    head = ["difference", "split", "points", "games better / worse", "P(X > Y)", "p", "p, Holm", "verdict",
            *(["points of score (not corrected)"] if scored else [])]  # fmt: skip
    note = (
        f"Paired by seed and game, each method in its own mode; {found['pairs']['looked_at']} planned comparisons, "
        f"Holm's p is corrected for their number. P(X > Y): that a run of X is better than a run of Y on a task type, "
        f"ties counting half."
    )
    return ReportTable(head, rows, note, empty="No two methods have a seed in common, so nothing can be paired.")


def inference_table(found: Found) -> ReportTable:
    """The same policy with and without guidance."""
    rows = [
        [
            title(found, row["method"]), row["split"], bare_percent(row["left_mean"]), bare_percent(row["right_mean"]),
            with_interval(row, points), f"{row['better']} / {row['worse']}", row["verdict"],
        ]
        for row in found["inference"]
    ]  # fmt: skip
    head = ["policy", "split", "with guidance", "without", "difference", "games better / worse", "verdict"]
    note = "The same weights on the same games, paired by seed and game; of methods the final policy."
    return ReportTable(head, rows, note, empty="Policies were evaluated in one mode only.")


def task_type_table(found: Found) -> ReportTable:
    """Success by task type, mean over seeds, of the final policies."""
    rows = []
    for method, about in [("base", None), *found["methods"].items()]:
        mode = about["mode"] if about else next(iter(found["scores"]["base"]), "")
        for split, entry in found["scores"][method].get(mode, {}).items():
            if part := entry.get("final" if about else "base"):
                rows.append((title(found, method), split, part["task_types"]))
    kinds = dict.fromkeys(kind for *_, by_kind in rows for kind in by_kind)
    cells = [[name, split, *(bare_percent(by_kind.get(kind)) for kind in kinds)] for name, split, by_kind in rows]
    return ReportTable(["method", "split", *kinds], cells, "Success in per cent; few games each.")


def speed_table(found: Found) -> ReportTable:
    """How much was won while learning."""
    rows = [
        [title(found, method), *(_with_range(part, percent) for part in (*speed["quarters"], speed["all"])),
         _with_range(speed["lead"], points)]
        for method, speed in found["speed"].items()
    ]  # fmt: skip
    first = title(found, next(iter(found["speed"]), ""))
    note = (
        f"Success of the training episodes in per cent, in brackets the least and the greatest seed. Less {first}: of "
        f"all steps, paired by seed, since a seed's steps have the same games in all methods."
    )
    head = ["method", "first quarter of the steps", "second", "third", "last", "all steps", f"less {first}"]
    return ReportTable(head, rows, note, empty="No run has four steps.")


def cost_table(found: Found) -> ReportTable:
    """What the training of a run took."""
    rows = [
        [title(found, method), *(f"{cost[name]:,.0f}" for name in _COSTS.values()), duration(cost["step_seconds"]),
         duration(cost["wall_seconds"])]
        for method, cost in found["costs"].items()
    ]  # fmt: skip
    note = (
        "Means of a run over the seeds; tokens are those that the policy wrote. Steps and trained episodes are the "
        "same for all: guidance costs tokens, dynamic sampling costs episodes that are discarded. The time of a whole "
        "run includes evaluation, but not steps that were taken over from another run."
    )
    return ReportTable(["method", *_COSTS, "time of the steps", "of the run"], rows, note)


def dials_table(found: Found) -> ReportTable:
    """The dials of the methods that train with guidance, by phase."""
    rows = []
    for method, phases in found["dials"].items():
        if found["methods"][method]["mode"] != "with_guidance":
            continue
        for phase, dials in phases.items():
            name = phase.removeprefix("phase_").replace("_", " ") + ", " if phase.startswith("phase_") else ""
            span = f"{name}steps {dials['first']} to {dials['last']}"
            rows.append([title(found, method), span, *(_with_range(dials[dial], form) for _, dial, form in _DIALS)])
    note = (
        f"Means over the seeds, in brackets the least and the greatest seed. {SIGNS_NOTE} Many guidance-only groups "
        f"(whose gradient comes from guidance alone) are another one. AUC early, middle, late: of the turns in each "
        f"third of their episode."
    )
    return ReportTable(["method", "phase", *(name for name, _, _ in _DIALS)], rows, note, empty="No run had guidance.")


def calibration_table(found: Found) -> ReportTable:
    """Verdicts against outcomes on the evaluation panels, before and after training."""
    rows = []
    for row in found["calibration"]:
        labels = [f"{with_interval(row[f'win_rate.{label}'])} ({percent(row[f'share.{label}']['value'])})"
                  for label in LABELS]  # fmt: skip
        reliability, resolution, uncertainty = (
            number(row[f"brier.{part}"]["value"]) for part in ("reliability", "resolution", "uncertainty")
        )
        change = NONE
        if row.get("auc_verdict"):
            change = f"{with_interval(row['moved']['auc.turns'], number)}, {row['auc_verdict']}"
        rows.append([
            title(found, row["method"]), row["split"], *labels, with_interval(row["auc.turns"], number),
            " / ".join(number(row[f"auc.{third}"]["value"]) for third in THIRDS),
            with_interval(row["brier.score"], number), f"{reliability} - {resolution} + {uncertainty}", change,
        ])  # fmt: skip
    head = ["policy", "split", *(f"wins if {label}" for label in LABELS), "AUC", "early / middle / late", "Brier score",
            "reliability - resolution + uncertainty", "AUC: final - base"]  # fmt: skip
    note = (
        "P(win | label) in per cent of turns, with 95 % intervals over seeds and games and the label's share in "
        "brackets. The Brier score reads the verdict as a forecast of 0, 1/2 or 1; lower is better. Training changes "
        "the turns as well as the guidance: a policy that repeats itself less leaves fewer easy verdicts, so a lower "
        "AUC is not yet worse guidance; the comparison by checkpoint is."
    )
    return ReportTable(head, rows, note, empty="No evaluation episodes with guidance are on disk.")


def cross_table(found: Found) -> ReportTable:
    """Success of one policy under guides of several checkpoints, and the published values."""
    cells = {
        (c["method"], c["split"], c["policy_step"], c["guide_step"]): c for c in found["cross_checkpoint"]["cells"]
    }
    trends = {(t["method"], t["split"], t["policy_step"]): t for t in found["cross_checkpoint"]["trends"]}
    guides = sorted({guide for *_, guide in cells})
    rows = []
    for method, split, step in dict.fromkeys(key[:3] for key in cells):
        trend = trends.get((method, split, step))
        by_guide = (cells.get((method, split, step, guide)) for guide in guides)
        rows.append([
            f"{title(found, method)}, step {step}", split,
            *(with_interval(cell) + (f"; score {with_interval(cell['score'])}" if cell and "score" in cell else "")
              for cell in by_guide),
            f"{with_interval(trend, points)}, {trend['verdict']}" if trend else NONE,
        ])  # fmt: skip
    theirs = ", ".join(f"guide {step}: {score} ({success:.0f} %)" for step, score, success in PUBLISHED_GUIDES)
    note = (
        f"Success in per cent of a fixed policy (row) whose guidance the checkpoint of another step writes (column); "
        f"the last column is the latest guide against the earliest, paired by seed and game. PUBLISHED, not comparable "
        f"({SOURCE}; WebShop, policy fixed at checkpoint 40 of 80; score, and success in brackets): {theirs}."
    )
    head = ["policy", "split", *(f"guide of step {guide}" for guide in guides), "latest - earliest"]
    return ReportTable(head, rows, note, empty="The cross-checkpoint evaluation was not run.")


def _final(found: Found, method: str, measure: str) -> list[str]:
    """The final policy's value on each split, in the mode that the method trains."""
    splits = list(found["setting"]["splits"])
    if method not in found["methods"]:
        return ["not run" for _ in splits]
    by_split = own_scores(found, method)
    return [with_interval(by_split.get(split, {}).get("final", {}).get(measure)) for split in splits]


def _with_range(dial: Mapping[str, Any] | None, form: Callable[[float | None], str]) -> str:
    if dial is None:
        return NONE
    if dial["least"] == dial["most"]:
        return form(dial["mean"])
    return f"{form(dial['mean'])} [{form(dial['least'])}, {form(dial['most'])}]".replace(" %", "")
