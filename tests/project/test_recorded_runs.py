"""Runs that were begun before there were several benchmarks go on."""

import json
from pathlib import Path

from sg_pipeline.configuration import CONFIG_LOADER_ARGS, MethodConfigLoader
from sg_pipeline.identity import claim_run, comparable, fingerprint
from sg_pipeline.parameters import Parameters, check_parameters

ROOT = Path(__file__).resolve().parents[2]

# Of a run.json of version 0.1.0, before: what it recorded of tasks, environment and evaluation, and of its inputs.
RECORDED = {
    "environment.name": "alfworld",
    "environment.arguments.engine": "fast",
    "tasks.source": "panel",
    "tasks.panel": "default",
    "tasks.seed": 0,
    "tasks.sizes.train": 256,
    "tasks.sizes.valid_seen": 200,
    "tasks.sizes.valid_unseen": 200,
    "tasks.difficulty.min_receptacles": 4,
    "tasks.difficulty.max_receptacles": 7,
    "tasks.difficulty.min_items": 5,
    "tasks.difficulty.max_items": 8,
    "tasks.difficulty.max_receptacles_per_kind": 3,
    "tasks.difficulty.max_items_per_kind": 2,
    "tasks.difficulty.max_items_per_receptacle": 4,
    "tasks.difficulty.duplicate_probability": 0.15,
    "tasks.limit": None,
    "evaluate.splits": ["valid_seen", "valid_unseen"],
    "evaluate.temperature": 1.0,
    "evaluate.episodes_per_game": 1,
    "evaluate.guided": True,
    "evaluate.plain": True,
    "evaluate.games": None,
    "evaluate.max_turns": None,
}
INPUTS = {"base_model.path": "dd8e38c0ab951fe0", "tasks.panel": "edb1c098c68970ae"}


def default() -> Parameters:
    arguments = {**CONFIG_LOADER_ARGS, "env": "base", "runtime_params": {}}
    return check_parameters(MethodConfigLoader(str(ROOT / "conf"), **arguments)["parameters"])


def test_the_default_run_records_what_it_recorded() -> None:
    own = fingerprint(default())["parameters"]
    sections = ("environment.", "tasks.", "evaluate.")
    assert {name: value for name, value in own.items() if name.startswith(sections)} == RECORDED
    assert {name: value for name, value in comparable(RECORDED, own).items() if name in RECORDED} == RECORDED


def test_its_inputs_are_the_same_files(tmp_path) -> None:
    (tmp_path / "data").symlink_to(ROOT / "data")
    path = tmp_path / "reports" / "08_reporting" / "default" / "run.json"
    claim_run(path, default(), tmp_path)
    recorded = json.loads(path.read_text(encoding="utf-8"))["inputs"]
    assert {name: recorded[name] for name in INPUTS} == INPUTS
    assert set(recorded) == {*INPUTS, "validation.panel"}
