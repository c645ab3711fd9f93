"""Compare methods: scores, gains over the base policy, and paired differences with a verdict.

Of `QUESTIONS` the planned comparisons follow; they were chosen before any of them was looked at.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
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
CREDIT_BY_TURN = ("sg_worth", "sg_turn_truth", "sg_turn")

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
    ("Is credit by turn better than plain training?", tuple((ours, "grpo") for ours in CREDIT_BY_TURN)),
    ("Is it better than the paper's form?", tuple((ours, "grpo_sg_gr") for ours in CREDIT_BY_TURN)),
    ("Is it better than GiGPO?", tuple((ours, "gigpo") for ours in CREDIT_BY_TURN)),
    ("What do the verdicts add to credit by turn?", (("sg_worth", "sg_states"), ("sg_turn", "sg_states"))),
    (
        "What do the parts of credit by worth add?",
        (("sg_worth", "sg_worth_flat"), ("sg_worth", "sg_worth_only")),
    ),
    ("What does pay for true verdicts add?", (("sg_turn_truth", "sg_turn"), ("sg_truth", "grpo_sg"))),
)
"""Questions answered by comparing methods: (X, Y) asks whether X is better than Y."""


@dataclass(frozen=True)
class Study:
    """The runs of a study by method, in the order in which they are shown; `seed` names the random streams."""

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
        """Return the mode that a method trains."""
        return self.runs[method][0].mode

    @property
    def graded(self) -> bool:
        """Whether episodes have scores other than success."""
        tables = (splits for record in self.records for part in PARTS for splits in record.evaluation(part).values())
        return is_graded(*(score for splits in tables for score in splits.values()))

    def outcomes(self, method: str, part: str, mode: str, split: str, measure: str = SUCCESS) -> Outcomes | None:
        """Return the outcomes (`SUCCESS` or `SCORES`) of the runs that were evaluated on this; None if none was."""
        evaluated = {
            record.seed: record.evaluation(part)[mode][split]
            for record in self.runs.get(method, ())
            if split in record.evaluation(part).get(mode, {})
        }
        if not evaluated:
            return None
        types = self.runs[method][0].task_types
        return build_outcomes(_per_game(evaluated, measure), types, f"{method}, {part}, {mode}, {split}")

    def mean(self, outcomes: Outcomes, *names: str | int) -> dict[str, Any]:
        """Return the estimate of the mean; `names` are of its random stream."""
        return mean_success(outcomes, self.stream(*names)).as_json()

    def stream(self, *names: str | int) -> np.random.Generator:
        """Return a random stream of this study."""
        return stream(self.seed, "study", *names)


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
    base = next(own for part, _, own in policies(study) if part == "base")
    return {
        "base": _scores(base, "base", ("base",)),
        **{method: _scores(study, method, PARTS) for method in study.runs},
    }


def _scores(study: Study, method: str, parts: Sequence[str]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for mode, split in product(MODES, study.splits):
        names = (method, mode, split)
        entry: dict[str, Any] = {}
        graded: dict[str, Outcomes | None] = {}
        sides = {part: study.outcomes(method, part, mode, split) for part in parts}
        for part, outcomes in sides.items():
            if outcomes is None:
                continue
            entry[part] = {
                "mean": study.mean(outcomes, *names, part, "mean"),
                "iqm": interquartile_mean(outcomes, study.stream(*names, part, "iqm")).as_json(),
                "per_seed": _by_name(outcomes.seeds, outcomes.rates.mean(axis=1)),
                "task_types": _by_name(outcomes.kinds, outcomes.point_scores().mean(axis=0)),
            }
            if study.graded and (scored := study.outcomes(method, part, mode, split, SCORES)) is not None:
                graded[part] = scored
                entry[part]["score"] = study.mean(scored, *names, part, "score")
        if len(entry) == len(PARTS):
            entry["gain"] = compare(study, sides["final"], sides["base"], "gain", *names)
            if graded:
                entry["score_gain"] = compare(study, graded["final"], graded["base"], "score", "gain", *names)
        if entry:
            result.setdefault(mode, {})[split] = entry
    return result


def compare(study: Study, left: Outcomes | None, right: Outcomes | None, *names: str) -> dict[str, Any] | None:
    """Compare two sets of outcomes, paired by seed and game, with random streams of these names.

    Returns:
        The estimate of left - right with `left_mean` and `right_mean` over what is common to both, `better` and `worse`
        (games that left solves more, or less, often), `verdict` and `probability_of_improvement`; None where no seed
        and game is common to both.
    """
    common = pair(left, right) if left is not None and right is not None else None
    if common is None:
        return None
    change = difference(*common)
    found = mean_success(change, study.stream("difference", *names))
    by_game = change.rates.mean(axis=0)
    # What differs with one seed may cancel over seeds: such a game still differs.
    differing = int((change.rates != 0).any(axis=0).sum())
    improvement = probability_of_improvement(*common, study.stream("improvement", *names))
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
        `compare` for each pair and split that have common seeds and games; `p_holm`: the p-value, corrected for the
        number of rows; `survives`: the verdict is not noise and holds after the correction. Where episodes are graded,
        `score` is `compare` of the scores.
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
    return compare(study, one, other, *names, left, right, split)


def pairs(study: Study) -> dict[str, Any]:
    """Compare the planned pairs of methods; a method that no planned pair names is compared with the first one."""
    planned = dict.fromkeys(both for _, asked in QUESTIONS for both in asked)
    chosen = [both for both in planned if all(method in study.runs for method in both)]
    known = {method for both in chosen for method in both}
    first = next(iter(study.runs), "")
    chosen += [(method, first) for method in study.runs if method not in known and method != first]
    rows = compare_pairs(study, chosen)
    return {"looked_at": len(rows), "rows": rows}


def guidance_at_inference(study: Study) -> list[dict[str, Any]]:
    """Compare playing with guidance and without it, of each of the `policies` on the same games and splits."""
    rows = []
    for (part, method, own), split in product(policies(study), study.splits):
        guided, plain = (own.outcomes(method, part, mode, split) for mode in MODES)
        found = compare(study, guided, plain, "inference", method, part, split)
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
            names = ("cross", method, split, policy, guide)
            found[guide] = build_outcomes(_per_game(by_seed, SUCCESS), types, what)
            rows.append({**own, "guide_step": guide, **study.mean(found[guide], *names)})
            if is_graded(*by_seed.values()):
                graded = build_outcomes(_per_game(by_seed, SCORES), types, what)
                rows[-1]["score"] = study.mean(graded, *names, "score")
        first, last = min(found), max(found)
        names_of = ("cross", method, split, str(policy), f"{last}-{first}")
        if first != last and (change := compare(study, found[last], found[first], *names_of)) is not None:
            trends.append({**own, "earliest": first, "latest": last, **change})
    return {"cells": rows, "trends": trends}


def policies(study: Study) -> Iterator[tuple[str, str, Study]]:
    """Yield (part, method, the runs of this method alone) of the base policy and of every final policy.

    The base's episodes do not depend on the method: they are, under the method "base", those of the most thoroughly
    evaluated run of each seed.
    """
    best: dict[int, RunRecord] = {}
    for record in study.records:
        if record.seed not in best or len(record.base) > len(best[record.seed].base):
            best[record.seed] = record
    yield "base", "base", Study({"base": [best[seed] for seed in sorted(best)]}, {}, study.seed)
    for method, runs in study.runs.items():
        yield "final", method, Study({method: runs}, {}, study.seed)


def _per_game(scores: Mapping[int, Mapping[str, Any]], measure: str) -> dict[int, Any]:
    """Return seed -> game -> (sum, episodes) of this measure; success where episodes are not graded."""
    return {seed: score.get(measure) or score[SUCCESS] for seed, score in scores.items()}


def _by_name(names: Sequence[Any], values: np.ndarray) -> dict[str, float]:
    return {str(name): float(value) for name, value in zip(names, values, strict=True)}
