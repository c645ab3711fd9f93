"""Compare methods: scores, gains over the base policy, and paired differences with a verdict.

Of `QUESTIONS` the planned comparisons follow; they were chosen before any of them was looked at.
"""

from collections.abc import Iterable, Mapping, Sequence
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
SUCCESS, SCORES = "per_game", "score_per_game"

SCHEDULE_VARIANTS = ("immediate", "entry_15", "entry_25", "no_annealing")

QUESTIONS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("Does guidance help training?", (("grpo_sg", "grpo"), ("dapo_sg", "dapo"))),
    ("Does the internal reward add to that?", (("grpo_sg_gr", "grpo_sg"), ("dapo_sg_gr", "dapo_sg"))),
    ("Is the full method better than plain training?", (("grpo_sg_gr", "grpo"), ("dapo_sg_gr", "dapo"))),
    ("Is the full schedule better than the others?", tuple(("grpo_sg_gr", other) for other in SCHEDULE_VARIANTS)),
    ("Is an internal reward from the first step on better than none?", (("immediate", "grpo_sg"),)),
    (
        "Is guidance distilled from a stronger policy better than one's own?",
        (("offline_sg", "grpo_sg"), ("offline_sg_gr", "grpo_sg_gr")),
    ),
    ("Does distilled guidance help training?", (("offline_sg", "grpo"),)),
    ("Does rewarding distilled guidance add to that?", (("offline_sg_gr", "offline_sg"),)),
)
"""Questions answered by comparing methods: (X, Y) asks whether X is better than Y."""

PLANNED = tuple(dict.fromkeys(both for _, pairs in QUESTIONS for both in pairs))


@dataclass(frozen=True)
class Study:
    """The runs of a study, by method.

    Attributes:
        runs: method -> its runs by seed; methods in the order in which they are shown.
        titles: method -> its name in tables.
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
        """Whether episodes have scores other than success."""
        tables = (splits for record in self.records for part in PARTS for splits in record.evaluation(part).values())
        return is_graded(*(score for splits in tables for score in splits.values()))

    def outcomes(self, method: str, part: str, mode: str, split: str, measure: str = SUCCESS) -> Outcomes | None:
        """Return the outcomes of the runs that were evaluated on this; None if none was.

        Args:
            method, part, mode, split: what was played, by which policy.
            measure: `SUCCESS`, or `SCORES`, which are success where episodes are not graded.
        """
        evaluated = {
            record.seed: record.evaluation(part)[mode][split]
            for record in self.runs.get(method, ())
            if split in record.evaluation(part).get(mode, {})
        }
        if not evaluated:
            return None
        per_game = {seed: score.get(measure) or score[SUCCESS] for seed, score in evaluated.items()}
        return build_outcomes(per_game, self.runs[method][0].task_types, f"{method}, {part}, {mode}, {split}")

    def of_one(self, method: str, runs: Sequence[RunRecord]) -> "Study":
        """Return a study of one method that shares this study's random streams."""
        return Study({method: runs}, {}, self.seed)


def group_runs(records: Sequence[RunRecord], titles: Mapping[str, str], seed: int = 0) -> Study:
    """Order the runs: methods as in `titles`, then others as they come; seeds sorted."""
    methods = [m for m in titles if any(r.method == m for r in records)]
    methods += dict.fromkeys(r.method for r in records if r.method not in titles)
    runs = {m: sorted((r for r in records if r.method == m), key=lambda r: r.seed) for m in methods}
    return Study(runs, {m: titles.get(m, m) for m in {**titles, **runs}}, seed)


def scores(study: Study) -> dict[str, Any]:
    """Score each method: method -> mode -> split -> {base, final: {mean, iqm, per_seed, task_types}, gain}.

    `gain` is final - base, paired by seed and game (see `compare`). Where episodes are graded, `score` is the mean
    score and `score_gain` its gain. The base policy is the same in every method: it has a separate entry "base", over
    the seeds of all methods.
    """
    base = study.of_one("base", one_per_seed(study.records))
    return {
        "base": _scores(base, "base", ("base",)),
        **{method: _scores(study, method, PARTS) for method in study.runs},
    }


def _scores(study: Study, method: str, parts: Sequence[str]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for mode in MODES:
        for split in study.splits:
            names = (method, mode, split)
            entry: dict[str, Any] = {}
            sides = {part: study.outcomes(method, part, mode, split) for part in parts}
            for part, outcomes in sides.items():
                if outcomes is not None:
                    entry[part] = {
                        "mean": mean_success(outcomes, stream(study.seed, "study", *names, part, "mean")).as_json(),
                        "iqm": interquartile_mean(outcomes, stream(study.seed, "study", *names, part, "iqm")).as_json(),
                        "per_seed": _by_name(outcomes.seeds, outcomes.rates.mean(axis=1)),
                        "task_types": _by_name(outcomes.kinds, outcomes.point_scores().mean(axis=0)),
                    }
            if len(entry) == len(PARTS):
                entry["gain"] = compare(sides["final"], sides["base"], study.seed, "gain", *names)
            if study.graded:
                graded = {part: study.outcomes(method, part, mode, split, SCORES) for part in parts}
                for part, outcomes in graded.items():
                    if outcomes is not None:
                        chance = stream(study.seed, "study", *names, part, "score")
                        entry[part]["score"] = mean_success(outcomes, chance).as_json()
                if "gain" in entry:
                    entry["score_gain"] = compare(graded["final"], graded["base"], study.seed, "score", "gain", *names)
            if entry:
                result.setdefault(mode, {})[split] = entry
    return result


def compare(left: Outcomes | None, right: Outcomes | None, seed: int, *names: str) -> dict[str, Any] | None:
    """Compare two sets of outcomes, paired by seed and game.

    Args:
        left, right: the difference is left - right.
        seed, names: of the random streams.

    Returns:
        The difference's estimate with `left_mean` and `right_mean` over what is common to both, `better` and `worse`
        (games that left solves more, or less, often), `verdict` and `probability_of_improvement`; None where no seed
        and game is common to both.
    """
    common = pair(left, right) if left is not None and right is not None else None
    if common is None:
        return None
    change = difference(*common)
    found = mean_success(change, stream(seed, "study", "difference", *names))
    by_game = change.rates.mean(axis=0)
    # What differs with one seed may cancel over seeds: such a game still differs.
    differing = int((change.rates != 0).any(axis=0).sum())
    improvement = probability_of_improvement(*common, stream(seed, "study", "improvement", *names))
    return {
        **found.as_json(),
        "left_mean": float(common[0].rates.mean()),
        "right_mean": float(common[1].rates.mean()),
        "better": int((by_game > 0).sum()),
        "worse": int((by_game < 0).sum()),
        "verdict": verdict(found, differing),
        "probability_of_improvement": improvement.as_json(),
    }


def compare_pairs(study: Study, chosen: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """Compare the final policies of pairs of methods, each in the mode that it trains.

    Returns:
        left, right, split and `compare` for each pair and split that have common seeds and games; `p_holm`: the
        p-value, corrected for the number of rows; `survives`: the verdict is not noise and holds after the correction.
        Where episodes are graded, `score` is `compare` of the scores.
    """
    rows: list[dict[str, Any]] = []
    for left, right in chosen:
        for split in study.splits:
            found = _compare_final(study, left, right, split, SUCCESS)
            if found is not None:
                graded = {"score": _compare_final(study, left, right, split, SCORES, "score")} if study.graded else {}
                rows.append({"left": left, "right": right, "split": split, **found, **graded})
    corrected = holm([1.0 if row["p_value"] is None else row["p_value"] for row in rows])
    for row, p_holm in zip(rows, corrected, strict=True):
        row["p_holm"] = p_holm
        row["survives"] = row["verdict"] != NOISE and p_holm < 0.05
    return rows


def _compare_final(study: Study, left: str, right: str, split: str, measure: str, *names: str) -> dict[str, Any] | None:
    one, other = (study.outcomes(method, "final", study.mode(method), split, measure) for method in (left, right))
    return compare(one, other, study.seed, *names, left, right, split)


def pairs(study: Study) -> dict[str, Any]:
    """Compare the planned pairs of methods; a method that no planned pair names is compared with the first one.

    Returns:
        `rows` of `compare_pairs`, and `looked_at`: how many.
    """
    chosen = [both for both in PLANNED if all(method in study.runs for method in both)]
    known = {method for both in chosen for method in both}
    first = next(iter(study.runs), "")
    chosen += [(method, first) for method in study.runs if method not in known and method != first]
    rows = compare_pairs(study, chosen)
    return {"looked_at": len(rows), "rows": rows}


def guidance_at_inference(study: Study) -> list[dict[str, Any]]:
    """Compare playing with guidance and without it, of the same policy on the same games.

    Returns:
        Rows of method, part ("base", "final"), split and `compare`. The base is the same policy in every method, so it
        is compared once, over the seeds of all of them, under method "base".
    """
    rows = []
    for part, method, runs in policies(study):
        own = study.of_one(method, runs)
        for split in study.splits:
            guided, plain = (own.outcomes(method, part, mode, split) for mode in MODES)
            found = compare(guided, plain, study.seed, "inference", method, part, split)
            if found is not None:
                rows.append({"method": method, "part": part, "split": split, **found})
    return rows


def cross_checkpoint(study: Study, cells: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Score guides by the success of a fixed policy that they guide.

    Args:
        study: for the games' task types.
        cells: of each run, policy, guide and split: {method, seed, policy_step, guide_step, split, score}, `score` as
            of `evaluation.metrics.score_episodes`.

    Returns:
        `cells`: method, policy_step, guide_step, split and the mean's estimate, sorted, with that of the mean score as
        `score` where episodes are graded; `trends`: for each policy and split that has more than one guide the latest
        guide against the earliest, paired by seed and game: method, policy_step, split, `earliest`, `latest` and
        `compare`.
    """
    gathered: dict[tuple[str, str, int], dict[int, dict[int, Any]]] = {}
    for cell in cells:
        guides = gathered.setdefault((cell["method"], cell["split"], cell["policy_step"]), {})
        guides.setdefault(cell["guide_step"], {})[cell["seed"]] = cell["score"]
    types = {game: kind for record in study.records for game, kind in record.task_types.items()}
    rows: list[dict[str, Any]] = []
    trends = []
    for (method, split, policy), guides in sorted(gathered.items()):
        own = {"method": method, "policy_step": policy, "split": split}
        found: dict[int, Outcomes] = {}
        for guide, by_seed in sorted(guides.items()):
            what = f"cross-checkpoint, policy of step {policy}, guide of step {guide}, {split}"
            names = ("study", "cross", method, split, policy, guide)
            found[guide] = build_outcomes({seed: score[SUCCESS] for seed, score in by_seed.items()}, types, what)
            rows.append(
                {**own, "guide_step": guide, **mean_success(found[guide], stream(study.seed, *names)).as_json()}
            )
            if is_graded(*by_seed.values()):
                per_game = {seed: score.get(SCORES, score[SUCCESS]) for seed, score in by_seed.items()}
                graded = mean_success(build_outcomes(per_game, types, what), stream(study.seed, *names, "score"))
                rows[-1]["score"] = graded.as_json()
        first, last = min(found), max(found)
        names_of = ("cross", method, split, str(policy), f"{last}-{first}")
        if first != last and (change := compare(found[last], found[first], study.seed, *names_of)) is not None:
            trends.append({**own, "earliest": first, "latest": last, **change})
    return {"cells": rows, "trends": trends}


def policies(study: Study) -> list[tuple[str, str, Sequence[RunRecord]]]:
    """Return (part, method, runs) of the base policy, under the method "base", and of every final policy."""
    return [
        ("base", "base", one_per_seed(study.records)),
        *(("final", method, runs) for method, runs in study.runs.items()),
    ]


def one_per_seed(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Return one run of each seed, the most thoroughly evaluated one: a base's episodes do not depend on the method."""
    best: dict[int, RunRecord] = {}
    for record in records:
        if record.seed not in best or len(record.base) > len(best[record.seed].base):
            best[record.seed] = record
    return [best[seed] for seed in sorted(best)]


def _by_name(names: Sequence[Any], values: np.ndarray) -> dict[str, float]:
    return {str(name): float(value) for name, value in zip(names, values, strict=True)}
