"""The methods of conf/methods, and their use in conf/, the study and dvc.yaml."""

import re
from functools import reduce
from operator import getitem
from pathlib import Path

import pytest
import yaml
from configured import CONF, ROOT, load, load_method
from kedro.framework.project import pipelines

from sg_pipeline import pipeline_registry
from sg_pipeline.config import session
from sg_pipeline.config.loader import method_parameters, method_title
from sg_pipeline.config.tree import Parameters
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.rewards.credit import GigpoCredit, TurnCredit
from sg_pipeline.rewards.trust import Constant
from sg_pipeline.study.plan import plan_runs

METHODS = sorted(path.stem for path in (CONF / "methods").glob("*.yml"))


@pytest.fixture(scope="module")
def methods() -> dict[str, Parameters]:
    return {name: load_method(name) for name in METHODS}


def test_studies_include_every_method(methods) -> None:
    studies = [load(env).study for env in ("base", "credit")]
    assert sorted({name for study in studies for name in study.all_methods}) == METHODS
    titles = {name: title for study in studies for name, title in study.titles.items()}
    assert titles == {name: method_title(CONF, name) for name in METHODS}
    assert len(set(titles.values())) == len(METHODS)


@pytest.mark.parametrize("env", ["base", "quick", "credit"])
def test_study_of_every_environment_can_be_planned(env) -> None:
    study = load(env).study
    runs = plan_runs(study, {name: load_method(name, env) for name in study.all_methods})
    assert {run.name.partition("/")[0] for run in runs} == {study.name}


def test_method_differs_from_the_full_one_only_in_its_ablation(methods) -> None:
    def changed(name: str, other: str = "grpo_sg_gr") -> set[str]:
        one, two = (methods[m].model_dump(exclude={"run"}) for m in (name, other))
        return {section for section in one if one[section] != two[section]}

    assert load().model_dump(exclude={"run"}) == methods["sg_worth"].model_dump(exclude={"run"})
    for name in ("grpo_sg", "immediate", "entry_15", "entry_25", "no_annealing"):
        assert changed(name) == {"aggregate"}, name
    assert changed("grpo") == {"aggregate", "rollout"}
    assert changed("offline_sg_gr") == {"rollout"}
    for name in ("grpo", "grpo_sg", "grpo_sg_gr"):
        assert changed(name.replace("grpo", "dapo", 1), name) == {"rollout", "train"}
    dapo = methods["dapo_sg_gr"]
    assert (dapo.train.loss_type, dapo.train.epsilon_high) == ("dapo", 0.28)
    assert dapo.rollout.dynamic_sampling > 0


def test_method_schedules_equal_the_papers_ablation(methods) -> None:
    def first_and_last(name: str) -> tuple[int, float]:
        trust = [methods[name].aggregate.schedule.trust(step, 80) for step in range(80)]
        return next((step for step in range(80) if trust[step] > 0), 80), trust[79]

    assert first_and_last("grpo_sg") == (80, 0.0)
    assert first_and_last("immediate") == (0, pytest.approx(0.1))
    # Trust is 0 in the step in which the ramp begins.
    assert [first_and_last(name)[0] for name in ("entry_15", "entry_25", "grpo_sg_gr")] == [16, 26, 41]
    assert first_and_last("no_annealing") == (41, 1.0)


def test_loader_command_line_overrides_method_overrides_environment() -> None:
    parameters = load_method("dapo", "smoke", train={"epsilon_high": 0.3}, run={"seed": 4})
    assert parameters.run.name == "dapo-seed4"
    assert (parameters.train.epsilon_high, parameters.train.loss_type) == (0.3, "dapo")
    assert parameters.train.minibatch == load("smoke").train.minibatch


def test_a_layer_that_names_another_kind_starts_its_section_anew() -> None:
    """Base has a schedule and a credit rule, the method others, and the command line others again."""
    given = {"schedule": {"kind": "constant"}, "credit": {"kind": "gigpo", "omega": 0.25}}
    rewards = load_method("sg_worth", aggregate=given).aggregate
    assert (rewards.schedule, rewards.credit) == (Constant(), GigpoCredit(omega=0.25))
    assert load_method("sg_worth", aggregate={"credit": {"trace": 0.25}}).aggregate.credit == TurnCredit(
        reward="worth", trace=0.25, omega=0.5
    )
    with pytest.raises(ConfigurationError, match="trace is a field of kind turn, but kind is 'gigpo'"):
        load_method("gigpo", aggregate={"credit": {"trace": 0.25}})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("title: [", "is not valid YAML"),
        ("- a", "found list"),
        ("train: 5", "found no values under 'train'"),
        ("train: {learning_rat: 1}", "train.learning_rat (found 1): did you mean train.learning_rate?"),
        ("trian: {learning_rate: 1}", "unknown parameter trian"),
    ],
)
def test_invalid_method_file_raises(tmp_path, content, message) -> None:
    (tmp_path / "base").symlink_to(CONF / "base")
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "mine.yml").write_text(content)
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        load_method("mine", conf=tmp_path)


def test_unknown_method_raises_with_the_nearest_name() -> None:
    with pytest.raises(ConfigurationError, match="no method 'grpo_gs'; did you mean grpo_sg"):
        method_parameters(CONF, "grpo_gs")


def test_dvc_stages_name_existing_pipelines_parameters_and_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    pipelines.set_requested(None)  # an earlier test may have requested one pipeline or other parameters
    monkeypatch.setattr(session, "_parameters", None)
    monkeypatch.setattr(session, "_of_method", None)
    registered = pipeline_registry.register_pipelines()
    for name, stage in stages.items():
        (names,) = re.findall(r"--pipelines?=(\S+)", stage["cmd"])
        assert set(names.split(",")) <= set(registered), name
        for entry in stage.get("params", []):
            for file, keys in entry.items():
                path = ROOT / file.replace("${item.method}", "grpo")
                content = yaml.safe_load(path.read_text(encoding="utf-8"))
                for key in keys or []:
                    reduce(getitem, key.split("."), content)
        # Everything that a run resumes from must survive until it does.
        for out in [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]:
            assert name == "study" or next(iter(out.values()))["persist"], f"{name}: {out}"
    assert set(stages) == {
        "tasks", "base_model", "coevolve", "evaluate", "distill", "offline", "cross_checkpoint", "study", "study-quick",
        "sweep",
    }  # fmt: skip


def test_dvc_training_stage_depends_on_the_parameters_of_training() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    # Stages or pipelines of their own, and what changes no result.
    own = {"study", "distill", "cross_checkpoint", "plan", "prompting", "sweep", "validation", "publish", "tracking"}
    own |= {"checkpoints", "distributed"}
    sections = {path.name for path in (CONF / "base").glob("parameters_*.yml")}
    sections -= {f"parameters_{name}.yml" for name in own}
    upstream = {"parameters_tasks.yml", "parameters_base_model.yml"}
    later = {"parameters_evaluate.yml"}
    for name, wanted in (("coevolve", sections - upstream - later), ("offline", sections - upstream)):
        named = {Path(file).name for entry in stages[name]["params"] for file in entry}
        assert named - {"${item.method}.yml"} == wanted, name
