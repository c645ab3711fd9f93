"""Which runs the study makes, and which steps they share."""

import pytest
from configured import load, load_method

from sg_pipeline.config.loader import section
from sg_pipeline.config.study import GuideConfig, StudyConfig
from sg_pipeline.config.tree import Parameters
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.study.plan import plan_runs


@pytest.fixture(scope="module")
def study() -> StudyConfig:
    return load().study


@pytest.fixture(scope="module")
def methods(study) -> dict[str, Parameters]:
    return {name: load_method(name) for name in study.all_methods}


def test_plan_runs_has_every_method_with_every_seed_and_the_donor_of_shared_steps(study, methods) -> None:
    runs = plan_runs(study, methods)
    assert [(run.method, run.seed) for run in runs] == [(m, s) for s in study.seeds for m in study.all_methods]
    assert runs[0].name == "study/grpo-seed0"
    after = {run.method: run.after.method for run in runs if run.seed == 2 and run.after}
    assert after == {
        "grpo_sg_gr": "grpo_sg", "dapo_sg_gr": "dapo_sg", "entry_15": "grpo_sg", "entry_25": "grpo_sg",
        "no_annealing": "grpo_sg_gr", "offline_sg_gr": "offline_sg",
    }  # fmt: skip
    assert all(run.after is None or run.after.seed == run.seed for run in runs)
    assert {run.method for run in runs if run.guided} == {"offline_sg", "offline_sg_gr"}


ALONE = {"cross_checkpoint": ()}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"guide": None}, "study.guide must name"),
        ({"guide": GuideConfig(method="offline_sg", seed=0)}, "'offline_sg' with seed 0, which is no run of this"),
        ({"guide": GuideConfig(method="grpo_sg", seed=9)}, "seed 9, which is no run of this study"),
        ({"offline": ("grpo",), **ALONE}, "both name 'grpo'"),
        ({"methods": ("grpo", "offline_sg"), "offline": (), **ALONE}, "belongs to study.offline"),
        ({"offline": ("grpo",), "methods": ("grpo_sg",), **ALONE}, "which has no guide: it belongs to study.methods"),
        ({"name": "mine"}, "distils its guide to 'data/06_models/mine/distilled/guide'"),
        ({"cross_checkpoint": ("grpo",)}, "which writes no guidance"),
        ({"cross_checkpoint": ("grop",)}, "study.cross_checkpoint names 'grop', but the study's methods are grpo,"),
    ],
)
def test_plan_runs_contradictory_study_raises(study, methods, changes, message) -> None:
    with pytest.raises(ConfigurationError, match=message):
        plan_runs(study.model_copy(update=changes), methods)


def test_study_config_duplicate_name_raises() -> None:
    with pytest.raises(ValueError, match="grpo is named twice"):
        section("study", methods=("grpo", "grpo_sg", "grpo"))


def test_seeds_may_be_counted():
    assert section("study", seeds=3).seeds == (0, 1, 2)
    with pytest.raises(ValueError, match="at least 1"):
        section("study", seeds=0)
