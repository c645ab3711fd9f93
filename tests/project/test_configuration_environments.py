"""Every environment of conf/ is complete and valid; conf/paper has the values of the paper."""

from pathlib import Path
from shutil import copytree

import pytest
from configured import CONF, load

from sg_pipeline.agents.prompts import load_prompts
from sg_pipeline.config.tree import Parameters
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.runs.steps import unroll


@pytest.fixture
def paper(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Parameters:
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
    return load("paper")


@pytest.mark.parametrize(("env", "name"), [("base", "default"), ("smoke", "smoke"), ("quick", "quick_run")])
def test_environment_without_data_is_valid_and_downloads_nothing(
    env: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ALFWORLD_DATA", raising=False)
    parameters = load(env)
    assert (parameters.run.name, parameters.tasks.source) == (name, "panel")
    assert (parameters.base_model.source, parameters.base_model.local_only) == ("checkpoint", True)


def test_paper_environment_has_the_papers_schedule(paper: Parameters) -> None:
    steps, schedule = paper.coevolve.steps, paper.aggregate.schedule
    assert (paper.run.name, steps) == ("paper", 80)
    trust = [schedule.trust(step, steps) for step in range(steps + 1)]
    assert trust[:41] == [0.0] * 41
    assert trust[50:71] == [1.0] * 21
    assert (trust[45], trust[75], trust[80]) == (pytest.approx(0.5), pytest.approx(0.5), 0.0)
    phases = [step.namespace.partition(".")[0] for step in unroll(paper.coevolve, schedule)]
    assert [phases.index(phase) for phase in sorted(set(phases))] == [0, 40, 50, 70]


def test_paper_environment_has_the_papers_reward_and_batch(paper: Parameters) -> None:
    assert paper.aggregate.polarity.model_dump() == {"positive": 0.1, "neutral": 0.0, "negative": -0.1}
    assert (paper.aggregate.environment_scale, paper.aggregate.normalisation) == (1.0, "group")
    assert (paper.rollout.tasks_per_step, paper.rollout.group_size, paper.rollout.max_turns) == (16, 8, 50)
    assert (paper.train.loss_type, paper.train.learning_rate, paper.train.beta) == ("grpo", 1e-6, 0.01)
    assert (paper.rollout.guidance, paper.tasks.source, paper.evaluate.temperature) == (True, "official", 0.4)


@pytest.mark.parametrize(
    ("name", "variable"), [("alfworld", "ALFWORLD_DATA"), ("webshop", "WEBSHOP_DATA"), ("scienceworld", None)]
)
def test_paper_environment_of_each_benchmark_needs_its_data(
    name: str, variable: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable is not None:
        monkeypatch.delenv(variable, raising=False)
        with pytest.raises(ConfigurationError, match=variable):
            load("paper", environment={"name": name})
        monkeypatch.setenv(variable, "/official")
    parameters = load("paper", environment={"name": name})
    assert parameters.run.name == ("paper" if name == "alfworld" else f"{name}-paper")
    assert (parameters.base_model.path, parameters.rollout.group_size) == ("Qwen/Qwen3-1.7B", 8)
    tasks = parameters.tasks.model_dump()
    assert (tasks["data"] if variable else tasks["panel"]) == ("/official" if variable else "official")
    assert load_prompts(parameters.rollout.prompts, name).guided


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


@pytest.mark.parametrize(
    ("name", "source", "turns"),
    [("alfworld", "checkpoint", 16), ("webshop", "warm_start", 15), ("scienceworld", "warm_start", 30)],
)
def test_smollm_environment_begins_with_the_shipped_adapter_or_a_warm_start(name: str, source: str, turns: int) -> None:
    parameters = load("smollm", environment={"name": name})
    assert parameters.run.name == ("smollm" if name == "alfworld" else f"{name}-smollm")
    assert (parameters.base_model.source, parameters.rollout.max_turns) == (source, turns)
    assert (parameters.rollout.prompts, parameters.base_model.lora.rank) == ("short", 16)  # type: ignore[union-attr]
    # Only ALFWorld has a second wording.
    assert [stage.mixed_wording for stage in parameters.base_model.warm_start] == [name == "alfworld"]
    prompts = load_prompts(parameters.rollout.prompts, name)
    assert prompts.guided
    assert prompts.plain


@pytest.mark.parametrize("env", ["base", "smoke", "quick", "smollm", "paper"])
def test_every_environment_has_textarena_with_a_language_model(env: str) -> None:
    parameters = load(env, environment={"name": "textarena"}, tasks={"seeds": {"train": 5}})
    assert parameters.run.name == {"base": "textarena", "quick": "textarena-quick_run"}.get(env, f"textarena-{env}")
    assert (parameters.base_model.source, parameters.rollout.prompts) == ("pretrained", "self_guide")
    assert (parameters.tasks.games, parameters.tasks.seeds["train"]) == (("FrozenLake-v0",), 5)
    assert parameters.validation.split in parameters.tasks.seeds
    assert set(parameters.evaluate.splits) == {"valid_seen", "valid_unseen"}
