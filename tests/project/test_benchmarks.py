"""Benchmarks by name: their layer of conf/, their section, the names of their runs."""

from typing import Any

import pytest
import yaml
from configured import CONF, ROOT, load, load_raw

from sg_pipeline.config.extensions import DEFAULT, ENVIRONMENT, KNOWN
from sg_pipeline.environments.registry import load_benchmark

OTHERS = sorted(set(KNOWN[ENVIRONMENT]) - {DEFAULT})


def test_loader_naming_the_default_benchmark_changes_nothing() -> None:
    assert load_raw(environment={"name": DEFAULT}) == load_raw()


@pytest.mark.parametrize("name", OTHERS)
def test_benchmark_layer_replaces_the_values_for_alfworld(name: str) -> None:
    layer = yaml.safe_load((CONF / "environments" / f"{name}.yml").read_text(encoding="utf-8"))
    raw = load_raw(environment={"name": name})
    assert raw["base_model"]["path"] == layer["base_model"]["path"]
    assert set(raw["tasks"]) == set(layer["tasks"])
    # Not ALFWorld's, but its own.
    assert raw["environment"].get("arguments") == layer.get("environment", {}).get("arguments")
    assert raw["rollout"]["max_turns"] == layer["rollout"]["max_turns"]
    assert raw["evaluate"]["splits"] == layer["evaluate"]["splits"]


@pytest.mark.parametrize(
    ("env", "run", "expected"),
    [
        ("base", {}, "webshop"),
        ("quick", {}, "webshop-quick_run"),
        ("base", {"method": "dapo", "seed": 4}, "webshop-dapo-seed4"),
        ("base", {"name": "mine"}, "mine"),
    ],
)
def test_loader_names_runs_after_their_benchmark(env: str, run: Any, expected: str) -> None:
    raw = load_raw(env, environment={"name": "webshop"}, run=run)
    assert raw["run"]["name"] == expected
    assert raw["study"]["name"] == f"webshop-{'quick' if env == 'quick' else 'study'}"


def test_loader_later_layers_override_earlier_ones() -> None:
    shop = {"environment": {"name": "webshop"}}
    assert load_raw(**shop)["rollout"]["max_turns"] == 15
    smoke = load_raw("smoke", **shop)
    assert (smoke["rollout"]["max_turns"], smoke["tasks"]["panel"]) == (10, "small")
    given = load_raw("smoke", **shop, rollout={"max_turns": 7}, run={"method": "grpo"})
    assert (given["rollout"]["max_turns"], given["rollout"]["guidance"]) == (7, False)


SHIPPED = [n for n in sorted(KNOWN[ENVIRONMENT]) if load(environment={"name": n}).base_model.source == "checkpoint"]


@pytest.mark.parametrize("name", SHIPPED)
def test_benchmark_shipped_policy_has_its_vocabulary(name: str) -> None:
    from sg_pipeline.policies.checkpoint import load_policy
    from sg_pipeline.policies.tokenizer import build_tokenizer

    policy = load_policy(ROOT / load(environment={"name": name}).base_model.path)
    assert policy.tokenizer.get_vocab() == build_tokenizer(load_benchmark(name).vocabulary()).get_vocab()
    assert (policy.step, policy.optimizer_state) == (0, None)
