"""Benchmarks by name: their layer of conf/, their section, the names of their runs."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from sg_pipeline.config.extensions import DEFAULT, ENVIRONMENT, KNOWN
from sg_pipeline.config.loader import CONFIG_LOADER_ARGS, MethodConfigLoader
from sg_pipeline.config.tree import Parameters, check_parameters
from sg_pipeline.environments.registry import load_benchmark

CONF = Path(__file__).resolve().parents[2] / "conf"
OTHERS = sorted(set(KNOWN[ENVIRONMENT]) - {DEFAULT})


def loader(name: str, env: str = "base", **runtime: Any) -> MethodConfigLoader:
    given = {**runtime, "environment": {"name": name, **runtime.get("environment", {})}}
    return MethodConfigLoader(str(CONF), **{**CONFIG_LOADER_ARGS, "env": env, "runtime_params": given})


def load(name: str, env: str = "base", **runtime: Any) -> Parameters:
    return check_parameters(loader(name, env, **runtime)["parameters"])


def test_loader_naming_the_default_benchmark_changes_nothing() -> None:
    plain = MethodConfigLoader(str(CONF), **{**CONFIG_LOADER_ARGS, "env": "base", "runtime_params": {}})
    assert loader(DEFAULT)["parameters"] == plain["parameters"]
    assert load(DEFAULT).run.name == "default"


@pytest.mark.parametrize("name", OTHERS)
def test_benchmark_layer_replaces_the_values_for_alfworld(name: str) -> None:
    layer = yaml.safe_load((CONF / "environments" / f"{name}.yml").read_text(encoding="utf-8"))
    assert layer["tasks"]["panel"] == "default"
    assert layer["evaluate"]["splits"] == ["dev", "test"]
    raw = loader(name)["parameters"]
    assert raw["base_model"]["source"] == layer["base_model"].get("source", "checkpoint")
    if raw["base_model"]["source"] == "checkpoint":
        assert raw["base_model"]["path"] == f"data/06_models/tiny-{name}/base"
    else:
        assert raw["base_model"]["warm_start"] == layer["base_model"]["warm_start"]
    assert raw["evaluate"]["splits"] == ["dev", "test"]
    assert set(raw["tasks"]) == set(layer["tasks"])
    # Not ALFWorld's, but its own.
    assert raw["environment"].get("arguments") == layer.get("environment", {}).get("arguments")
    assert raw["rollout"]["max_turns"] == layer["rollout"]["max_turns"]


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize(
    ("env", "runtime", "expected"),
    [
        ("base", {}, "{}"),
        ("smoke", {}, "{}-smoke"),
        ("quick", {}, "{}-quick_run"),
        ("base", {"run": {"method": "dapo", "seed": 4}}, "{}-dapo-seed4"),
        ("base", {"run": {"name": "mine"}}, "mine"),
    ],
)
def test_loader_names_runs_after_their_benchmark(name: str, env: str, runtime: Any, expected: str) -> None:
    raw = loader(name, env, **runtime)["parameters"]
    assert raw["run"]["name"] == expected.format(name)
    assert raw["study"]["name"] == f"{name}-{'quick' if env == 'quick' else 'study'}"


def test_loader_later_layers_override_earlier_ones() -> None:
    name = "webshop"
    assert loader(name)["parameters"]["rollout"]["max_turns"] == 15
    smoke = loader(name, "smoke")["parameters"]
    assert (smoke["rollout"]["max_turns"], smoke["tasks"]["panel"]) == (10, "small")
    given = loader(name, "smoke", rollout={"max_turns": 7}, run={"method": "grpo"})["parameters"]
    assert (given["rollout"]["max_turns"], given["rollout"]["guidance"]) == (7, False)


def test_benchmark_data_folder_comes_from_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALFWORLD_DATA", "/alfworld")
    monkeypatch.setenv("WEBSHOP_DATA", "/webshop")
    assert loader("webshop")["parameters"]["tasks"]["data"] == "/webshop"
    assert loader(DEFAULT)["parameters"]["tasks"]["data"] == "/alfworld"


SHIPPED = sorted(name for name in KNOWN[ENVIRONMENT] if load(name).base_model.source == "checkpoint")


@pytest.mark.parametrize("name", SHIPPED)
def test_benchmark_shipped_policy_has_its_vocabulary(name: str) -> None:
    from sg_pipeline.policies.checkpoint import load_policy
    from sg_pipeline.policies.tokenizer import build_tokenizer

    parameters = load(name)
    policy = load_policy(CONF.parent / parameters.base_model.path)
    words = build_tokenizer(load_benchmark(parameters.environment.name).vocabulary())
    assert policy.tokenizer.get_vocab() == words.get_vocab()
    assert policy.step == 0
    assert policy.optimizer_state is None
