"""Which runs a study consists of, and which of them go first.

    grpo_sg ──► grpo_sg_gr ──► no_annealing        an arrow: its first steps are the other's, too
       │            └────► guide ──► offline_sg    … or: it needs the guide that was distilled from the other
       ├──────► entry_25
       └──────► entry_15

The arrows save time (see `prefix`); no result but the guide's depends on them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sg_pipeline.config.study import StudyConfig
from sg_pipeline.config.tree import Parameters
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.runs.identity import fingerprint
from sg_pipeline.runs.shared_steps import common_steps


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One run of the study.

    Attributes:
        method, seed: what it is.
        name: its `run.name`.
        after: the run of the same seed whose first steps it shares; None: it begins at the base policy.
        guided: it waits for the guide.
    """

    method: str
    seed: int
    name: str
    after: "PlannedRun | None"
    guided: bool


def plan_runs(study: StudyConfig, methods: Mapping[str, Parameters]) -> list[PlannedRun]:
    """Return the runs of the study, donors before those that share their steps.

    Args:
        study: methods and seeds.
        methods: each method's parameters.

    Raises:
        ConfigurationError: a method or seed is named that the study does not have.
    """
    _check(study, methods)
    recorded = {name: fingerprint(methods[name])["parameters"] for name in study.all_methods}
    guided = {name for name in study.all_methods if methods[name].rollout.guide is not None}
    # The longest line first: what has the most steps in common with others begins where they do.
    shared = {
        (one, other): common_steps(recorded[one], recorded[other])
        for one in study.all_methods
        for other in study.all_methods
        if one != other
    }
    order: list[str] = []
    parent: dict[str, str | None] = {}
    for name in _by_trust(study, methods):
        best = max(order, key=lambda other: (shared[name, other], -order.index(other)), default=None)
        parent[name] = best if best is not None and shared[name, best] else None
        order.append(name)
    runs: list[PlannedRun] = []
    for seed in study.seeds:
        made: dict[str, PlannedRun] = {}
        for name in order:
            before = parent[name]
            made[name] = PlannedRun(
                name, seed, study.run_name(name, seed), None if before is None else made[before], name in guided
            )
        runs += [made[name] for name in study.all_methods]
    return runs


def _by_trust(study: StudyConfig, methods: Mapping[str, Parameters]) -> list[str]:
    """Sort the methods by how late lambda leaves 0: a run without trust shares the beginnings of all others."""

    def entry(name: str) -> int:
        schedule, steps = methods[name].aggregate.schedule, methods[name].coevolve.steps
        return next((step for step in range(steps) if schedule.trust(step, steps) > 0), steps)

    return sorted(study.all_methods, key=lambda name: -entry(name))


def _check(study: StudyConfig, methods: Mapping[str, Parameters]) -> None:
    made = next((name for name in study.all_methods if methods[name].base_model.source == "warm_start"), None)
    if made is not None:
        raise ConfigurationError(
            f"base_model.source of method {made!r} is 'warm_start', which makes another base policy for each seed: "
            f"make one beforehand (kedro run --pipeline=base_model) and name it by base_model.source=checkpoint and "
            f"base_model.path"
        )
    known = ", ".join(study.all_methods)
    twice = sorted(set(study.methods) & set(study.offline))
    if twice:
        raise ConfigurationError(f"study.methods and study.offline both name {twice[0]!r}: it belongs to one of them")
    for name in study.cross_checkpoint:
        if name not in study.all_methods:
            raise ConfigurationError(f"study.cross_checkpoint names {name!r}, but the study's methods are {known}")
        if not methods[name].rollout.guidance or methods[name].rollout.guide is not None:
            raise ConfigurationError(f"study.cross_checkpoint names {name!r}, which writes no guidance of its own")
    for name in study.all_methods:
        if (methods[name].rollout.guide is not None) != (name in study.offline):
            here, there = ("offline", "methods") if name in study.offline else ("methods", "offline")
            has = "has none" if name in study.offline else "needs a guide (rollout.guide)"
            raise ConfigurationError(f"study.{here} names {name!r}, which {has}: it belongs to study.{there}")
    if not study.offline:
        return
    if study.guide is None:
        raise ConfigurationError(
            f"study.offline has {study.offline[0]!r}, which needs a guide: study.guide must name the method and seed "
            f"to distil it from"
        )
    if study.guide.method not in study.methods or study.guide.seed not in study.seeds:
        raise ConfigurationError(
            f"study.guide names method {study.guide.method!r} with seed {study.guide.seed}, which is no run of this "
            f"study: study.methods has {', '.join(study.methods)}, study.seeds {', '.join(map(str, study.seeds))}"
        )
    path = f"data/06_models/{study.guide_name}/guide"
    for name in study.offline:
        if methods[name].rollout.guide != path:
            raise ConfigurationError(
                f"rollout.guide of method {name!r} is {methods[name].rollout.guide!r}, but this study distils its "
                f"guide to {path!r}: name that one (--params rollout.guide=… does it for all offline methods)"
            )
