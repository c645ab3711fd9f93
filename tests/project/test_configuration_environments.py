"""Every environment of conf/ is complete and valid; conf/paper has the values of the paper."""

from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from sg_pipeline.agents.prompts import load_prompts
from sg_pipeline.config.loader import MethodConfigLoader
from sg_pipeline.config.tree import Parameters, check_parameters
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.runs.steps import unroll
from sg_pipeline.settings import CONFIG_LOADER_ARGS

CONF = Path(__file__).resolve().parents[2] / "conf"


def load(env: str, conf: Path = CONF, **runtime: Any) -> Parameters:
    arguments = {**CONFIG_LOADER_ARGS, "env": env, "runtime_params": runtime}
    return check_parameters(MethodConfigLoader(str(conf), **arguments)["parameters"])


@pytest.fixture
def paper(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Parameters:
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
    return load("paper")


@pytest.mark.parametrize("env", ["base", "smoke", "quick"])
def test_environment_without_data_is_valid(env: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALFWORLD_DATA", raising=False)
    parameters = load(env)
    assert parameters.tasks.source == "panel"
    # Nothing is downloaded by default.
    assert parameters.base_model.source == "checkpoint"
    assert parameters.base_model.local_only


def test_environments_have_different_run_names(paper: Parameters) -> None:
    names = [load(env).run.name for env in ("base", "smoke", "quick")]
    assert [*names, paper.run.name] == ["default", "smoke", "quick_run", "paper"]
    assert load("paper", run={"name": "mine"}).run.name == "mine"


def test_paper_environment_has_the_papers_schedule(paper: Parameters) -> None:
    steps = paper.coevolve.steps
    schedule = paper.aggregate.schedule
    trust = [schedule.trust(step, steps) for step in range(steps + 1)]
    assert steps == 80
    assert trust[:41] == [0.0] * 41
    assert trust[45] == pytest.approx(0.5)
    assert trust[50:71] == [1.0] * 21
    assert trust[75] == pytest.approx(0.5)
    assert trust[80] == 0.0
    phases = [step.namespace.partition(".")[0] for step in unroll(paper.coevolve, schedule)]
    assert [phases.index(phase) for phase in sorted(set(phases))] == [0, 40, 50, 70]


def test_paper_environment_has_the_papers_reward_and_batch(paper: Parameters) -> None:
    assert paper.aggregate.polarity.model_dump() == {"positive": 0.1, "neutral": 0.0, "negative": -0.1}
    assert (paper.aggregate.environment_scale, paper.aggregate.normalisation) == (1.0, "group")
    assert (paper.rollout.tasks_per_step, paper.rollout.group_size, paper.rollout.max_turns) == (16, 8, 50)
    assert (paper.train.loss_type, paper.train.learning_rate, paper.train.beta) == ("grpo", 1e-6, 0.01)
    assert paper.rollout.guidance
    assert (paper.tasks.source, paper.evaluate.temperature) == ("official", 0.4)


def test_paper_environment_without_data_reports_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALFWORLD_DATA", raising=False)
    with pytest.raises(ConfigurationError, match="ALFWORLD_DATA"):
        load("paper")


def test_paper_environment_with_scienceworld_is_valid() -> None:
    parameters = load("paper", environment={"name": "scienceworld"})
    assert parameters.run.name == "scienceworld-paper"
    assert parameters.tasks.model_dump() == {"panel": "official", "limit": None}
    assert parameters.environment.arguments == {"show_actions": True, "show_objects": True}
    assert parameters.environment.pool.workers == 16
    assert (parameters.rollout.max_turns, parameters.rollout.group_size) == (30, 8)
    assert (parameters.evaluate.splits, parameters.evaluate.temperature) == (("test",), 0.4)
    assert parameters.base_model.path == "Qwen/Qwen3-1.7B"
    assert "science task" in load_prompts(parameters.rollout.prompts, "scienceworld").guided


def test_paper_environment_with_webshop_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBSHOP_DATA", "/official")
    parameters = load("paper", environment={"name": "webshop"})
    assert parameters.run.name == "webshop-paper"
    tasks = parameters.tasks
    assert (tasks.source, tasks.goals, tasks.data) == ("official", "human", "/official")
    assert (parameters.rollout.max_turns, parameters.evaluate.splits) == (15, ("test",))
    assert load_prompts(parameters.rollout.prompts, "webshop") != load_prompts(parameters.rollout.prompts)
    monkeypatch.delenv("WEBSHOP_DATA")
    with pytest.raises(ConfigurationError, match="WEBSHOP_DATA"):
        load("paper", environment={"name": "webshop"})


def test_environment_file_of_a_benchmark_overrides_its_values(tmp_path: Path) -> None:
    conf = copytree(CONF, tmp_path / "conf")
    (conf / "mine" / "environments").mkdir(parents=True)
    named = conf / "mine" / "parameters_mine.yml"
    named.write_text("tasks: {limit: 9}\nrollout: {max_turns: 20, group_size: 4}\n")
    (conf / "mine" / "environments" / "webshop.yml").write_text("rollout: {max_turns: 12}\n")
    webshop = load("mine", conf, environment={"name": "webshop"})
    # What an environment says for no benchmark in particular is for all of them.
    assert (webshop.tasks.limit, webshop.rollout.max_turns, webshop.rollout.group_size) == (9, 12, 4)
    assert load("mine", conf).rollout.max_turns == 20
    assert load("mine", conf, environment={"name": "webshop"}, rollout={"max_turns": 5}).rollout.max_turns == 5
    # One that names a benchmark says it for that one.
    named.write_text("environment: {name: webshop}\ntasks: {goals: human}\nevaluate: {splits: [dev], games: 3}\n")
    assert load("mine", conf).tasks.goals == "human"
    other = load("mine", conf, environment={"name": "scienceworld"})
    assert (other.evaluate.splits, other.evaluate.games) == (("dev", "test"), 3)
    (conf / "mine" / "environments" / "webshop.yml").write_text("rollout: 3\n")
    with pytest.raises(ConfigurationError, match=r"mine/environments/webshop\.yml must hold sections"):
        load("mine", conf)
