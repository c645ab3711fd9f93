"""Which runs a study consists of, and in which order they start.

    grpo_sg ──► grpo_sg_gr ──► no_annealing        an arrow: its first steps are the same
       │            └────► guide ──► offline_sg    … or: it needs the guide distilled from the other
       ├──────► entry_25
       └──────► entry_15

The order saves time (see `runs.shared_steps`); no result but the guide's depends on it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sg_pipeline.config.study import StudyConfig
from sg_pipeline.config.tree import Parameters
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.runs.identity import fingerprint
from sg_pipeline.runs.shared_steps import common_steps, first_trust


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One run of the study.

    Attributes:
        name: its `run.name`.
        after: the run of the same seed whose first steps it shares; None: it starts at the base policy.
        guided: it needs the guide.
    """

    method: str
    seed: int
    name: str
    after: "PlannedRun | None"
    guided: bool


def plan_runs(study: StudyConfig, methods: Mapping[str, Parameters]) -> list[PlannedRun]:
    """Return the runs of the study, by seed and method; `methods` are each method's parameters.

    Raises:
        ConfigurationError: the sections of the study contradict each other or the methods.
    """
    _check(study, methods)
    recorded = {name: fingerprint(methods[name])["parameters"] for name in study.all_methods}
    # The method whose trust begins last shares the beginnings of all others, so it comes first.
    steps = {name: methods[name].coevolve.steps for name in study.all_methods}
    order = sorted(study.all_methods, key=lambda name: -first_trust(methods[name].aggregate.schedule, steps[name]))
    donors: dict[str, str | None] = {}
    for index, name in enumerate(order):
        shared = {other: common_steps(recorded[name], recorded[other]) for other in order[:index]}
        best = max(shared, key=lambda other: shared[other], default=None)  # of equals the earliest
        donors[name] = best if best is not None and shared[best] else None
    runs: list[PlannedRun] = []
    for seed in study.seeds:
        made: dict[str | None, PlannedRun] = {}
        for name in order:
            guided = methods[name].rollout.guide is not None
            made[name] = PlannedRun(name, seed, study.run_name(name, seed), made.get(donors[name]), guided)
        runs += [made[name] for name in study.all_methods]
    return runs


def _check(study: StudyConfig, methods: Mapping[str, Parameters]) -> None:
    for name in study.all_methods:
        guided = methods[name].rollout.guide is not None
        if methods[name].base_model.source == "warm_start":
            raise ConfigurationError(
                f"base_model.source of method {name!r} is 'warm_start', which makes another base policy for each seed: "
                f"make one beforehand (kedro run --pipeline=base_model) and name it by base_model.source=checkpoint "
                f"and base_model.path"
            )
        if name in study.methods and name in study.offline:
            raise ConfigurationError(f"study.methods and study.offline both name {name!r}: it belongs to one of them")
        if guided and name in study.methods:
            raise ConfigurationError(
                f"study.methods names {name!r}, which needs a guide (rollout.guide): it belongs to study.offline"
            )
        if not guided and name in study.offline:
            raise ConfigurationError(f"study.offline names {name!r}, which has no guide: it belongs to study.methods")
    for name in study.cross_checkpoint:
        if name not in study.all_methods:
            known = ", ".join(study.all_methods)
            raise ConfigurationError(f"study.cross_checkpoint names {name!r}, but the study's methods are {known}")
        if not methods[name].rollout.guidance or methods[name].rollout.guide is not None:
            raise ConfigurationError(f"study.cross_checkpoint names {name!r}, which writes no guidance")
    if study.offline:
        _check_guide(study, methods)


def _check_guide(study: StudyConfig, methods: Mapping[str, Parameters]) -> None:
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
