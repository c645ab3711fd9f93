"""Methods against each other: scores, gains over the base, paired differences, and what they amount to in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sg_pipeline.config.evaluation import WITH_GUIDANCE, WITHOUT_GUIDANCE
from sg_pipeline.evaluation.metrics import is_graded
from sg_pipeline.randomness import stream
from sg_pipeline.study.outcomes import Outcomes, build_outcomes, difference, pair
from sg_pipeline.study.records import RunRecord
from sg_pipeline.study.statistics import (
    NOISE,
    holm,
    interquartile_mean,
    mean_success,
    probability_of_improvement,
    verdict,
)

PARTS = ("base", "final")
MODES = (WITH_GUIDANCE, WITHOUT_GUIDANCE)
SCORES = "score_per_game"

PLANNED = (
    ("grpo_sg", "grpo"),
    ("grpo_sg_gr", "grpo_sg"),
    ("grpo_sg_gr", "grpo"),
    ("dapo_sg", "dapo"),
    ("dapo_sg_gr", "dapo_sg"),
    ("dapo_sg_gr", "dapo"),
    ("grpo_sg_gr", "immediate"),
    ("grpo_sg_gr", "entry_15"),
    ("grpo_sg_gr", "entry_25"),
    ("grpo_sg_gr", "no_annealing"),
    ("immediate", "grpo_sg"),
    ("offline_sg", "grpo_sg"),
    ("offline_sg", "grpo"),
    ("offline_sg_gr", "grpo_sg_gr"),
    ("offline_sg_gr", "offline_sg"),
)
"""The comparisons that the questions need, chosen before any of them was looked at: (X, Y) asks whether X beats Y."""


@dataclass(frozen=True)
class Study:
    """The runs of a study, by method.

    Attributes:
        runs: method -> its runs by seed; methods in the order in which they are shown.
        titles: method -> how it is called in a table.
        seed: names the random streams of the intervals.
    """

    runs: Mapping[str, Sequence[RunRecord]]
    titles: Mapping[str, str]
    seed: int = 0

    @property
    def records(self) -> list[RunRecord]:
        """All runs, in order."""
        return [record for runs in self.runs.values() for record in runs]

    @property
    def splits(self) -> list[str]:
        """The splits that were evaluated."""
        return sorted({split for record in self.records for split in record.final.get(record.mode, {})})

    def mode(self, method: str) -> str:
        """The mode that a method trains."""
        return self.runs[method][0].mode

    @property
    def graded(self) -> bool:
        """Whether scores say more than who has won."""
        return is_graded(
            *(
                score
                for record in self.records
                for part in PARTS
                for splits in record.evaluation(part).values()
                for score in splits.values()
            )
        )

    def outcomes(self, method: str, part: str, mode: str, split: str, figure: str = "per_game") -> Outcomes | None:
        """Outcomes of the runs that have played this; None if none has.

        Args:
            method, part, mode, split: what was played, by whom.
            figure: "per_game" for success; "score_per_game" for scores, which are success where nothing is graded.
        """
        per_game = {
            record.seed: record.evaluation(part)[mode][split].get(figure)
            or record.evaluation(part)[mode][split]["per_game"]
            for record in self.runs.get(method, ())
            if split in record.evaluation(part).get(mode, {})
        }
        if not per_game:
            return None
        return build_outcomes(per_game, self.runs[method][0].task_types, f"{method}, {part}, {mode}, {split}")


def group_runs(records: Sequence[RunRecord], titles: Mapping[str, str], seed: int = 0) -> Study:
    """Put runs in order: methods as `titles` has them, then others as they come; seeds sorted."""
    methods = [*(m for m in titles if any(r.method == m for r in records)),
               *dict.fromkeys(r.method for r in records if r.method not in titles)]  # fmt: skip
    runs = {m: sorted((r for r in records if r.method == m), key=lambda r: r.seed) for m in methods}
    return Study(runs, {m: titles.get(m, m) for m in {**titles, **runs}}, seed)


def scores(study: Study) -> dict[str, Any]:
    """Score each method: method -> mode -> split -> {base, final: {mean, iqm, per_seed, task_types}, gain}.

    `gain` is final - base, paired by seed and game (see `compare`). Where episodes are graded, `score` is the mean
    score beside `mean`, and `score_gain` its gain. The base policy, which is the same in every method, has an entry of
    its own under "base", over the seeds of all methods.
    """
    base = Study({"base": one_a_seed(study.records)}, {}, study.seed)
    result: dict[str, Any] = {"base": _scores(base, "base", ("base",))}
    return result | {method: _scores(study, method, PARTS) for method in study.runs}


def _scores(study: Study, method: str, parts: Sequence[str]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for mode in MODES:
        for split in study.splits:
            found = {part: study.outcomes(method, part, mode, split) for part in parts}
            names = ("study", method, mode, split)
            entry: dict[str, Any] = {
                part: {
                    "mean": mean_success(outcomes, stream(study.seed, *names, part, "mean")).as_json(),
                    "iqm": interquartile_mean(outcomes, stream(study.seed, *names, part, "iqm")).as_json(),
                    "per_seed": _by_name(outcomes.seeds, outcomes.rates.mean(axis=1)),
                    "task_types": _by_name(outcomes.kinds, outcomes.point_scores().mean(axis=0)),
                }
                for part, outcomes in found.items()
                if outcomes is not None
            }
            before, after = found.get("base"), found.get("final")
            if before is not None and after is not None:
                entry["gain"] = compare(after, before, study.seed, "gain", method, mode, split)
            if study.graded:
                _add_scores(study, entry, method, mode, split)
            if entry:
                result.setdefault(mode, {})[split] = entry
    return result


def _add_scores(study: Study, entry: dict[str, Any], method: str, mode: str, split: str) -> None:
    found = {part: study.outcomes(method, part, mode, split, SCORES) for part in PARTS if part in entry}
    for part, outcomes in found.items():
        if outcomes is not None:
            names = ("study", method, mode, split, part, "score")
            entry[part]["score"] = mean_success(outcomes, stream(study.seed, *names)).as_json()
    before, after = found.get("base"), found.get("final")
    if before is not None and after is not None:
        entry["score_gain"] = compare(after, before, study.seed, "score", "gain", method, mode, split)


def compare(left: Outcomes, right: Outcomes, seed: int, *names: str) -> dict[str, Any] | None:
    """Compare two sets of outcomes, paired by seed and game.

    Args:
        left, right: what is compared; the difference is left - right.
        seed, names: of the random streams.

    Returns:
        The difference's estimate with `left_mean` and `right_mean` over what is common to both, `better` and `worse`
        (games on which left wins more, or less, often), `verdict` and `probability_of_improvement`; None where no seed
        and game is common to both.
    """
    common = pair(left, right)
    if common is None:
        return None
    change = difference(*common)
    found = mean_success(change, stream(seed, "study", "difference", *names))
    by_game = change.rates.mean(axis=0)
    # What differs with one seed may cancel over seeds: such a game still differs.
    differing = int((change.rates != 0).any(axis=0).sum())
    return {
        **found.as_json(),
        "left_mean": float(common[0].rates.mean()),
        "right_mean": float(common[1].rates.mean()),
        "better": int((by_game > 0).sum()),
        "worse": int((by_game < 0).sum()),
        "verdict": verdict(found, differing),
        "probability_of_improvement": probability_of_improvement(
            *common, stream(seed, "study", "improvement", *names)
        ).as_json(),
    }


def pairs(study: Study) -> dict[str, Any]:
    """Compare the planned pairs of methods, each in the mode that it trains.

    A method that no planned pair names is compared with the first one.

    Returns:
        `rows`: left, right, split and `compare` for each pair and split that have common seeds and games; `looked_at`:
        how many; each row has `p_holm`, its p-value corrected for that number, and `survives`: the verdict is not
        noise and holds after the correction too. Where episodes are graded, `score` is `compare` of the scores.
    """
    chosen = [both for both in PLANNED if all(method in study.runs for method in both)]
    known = {method for both in chosen for method in both}
    first = next(iter(study.runs), None)
    chosen += [(method, str(first)) for method in study.runs if method not in known and method != first]
    rows: list[dict[str, Any]] = []
    for left, right in chosen:
        for split in study.splits:
            sides = [study.outcomes(method, "final", study.mode(method), split) for method in (left, right)]
            if sides[0] is None or sides[1] is None:
                continue
            found = compare(sides[0], sides[1], study.seed, left, right, split)
            if found is not None:
                rows.append({"left": left, "right": right, "split": split, **found})
            if found is not None and study.graded:
                graded = [study.outcomes(m, "final", study.mode(m), split, SCORES) for m in (left, right)]
                if graded[0] is not None and graded[1] is not None:
                    rows[-1]["score"] = compare(graded[0], graded[1], study.seed, "score", left, right, split)
    corrected = holm([1.0 if row["p_value"] is None else row["p_value"] for row in rows])
    for row, p_holm in zip(rows, corrected, strict=True):
        row["p_holm"] = p_holm
        row["survives"] = row["verdict"] != NOISE and p_holm < 0.05
    return {"looked_at": len(rows), "rows": rows}


def guidance_at_inference(study: Study) -> list[dict[str, Any]]:
    """Compare playing with guidance with playing without it, of the same policy on the same games.

    Returns:
        Rows of method, part ("base", "final"), split and `compare`. The base is the same policy in every method, so
        it is compared once, over the seeds of all of them, under method "base".
    """
    rows = []
    for part, method, runs in [
        ("base", "base", one_a_seed(study.records)),
        *(("final", method, runs) for method, runs in study.runs.items()),
    ]:
        own = Study({method: runs}, {}, study.seed)
        for split in study.splits:
            guided, plain = (own.outcomes(method, part, mode, split) for mode in MODES)
            if guided is not None and plain is not None:
                found = compare(guided, plain, study.seed, "inference", method, part, split)
                if found is not None:
                    rows.append({"method": method, "part": part, "split": split, **found})
    return rows


def one_a_seed(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Return one run of each seed, the most thoroughly evaluated one: a base's episodes do not depend on the method."""
    best: dict[int, RunRecord] = {}
    for record in records:
        if record.seed not in best or len(record.base) > len(best[record.seed].base):
            best[record.seed] = record
    return [best[seed] for seed in sorted(best)]


def _by_name(names: Sequence[Any], values: np.ndarray) -> dict[str, float]:
    return {str(name): float(value) for name, value in zip(names, values, strict=True)}
