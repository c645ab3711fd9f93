"""WebShop as a benchmark: prepared panels, the expert, the words."""

import sys
from pathlib import Path

import pytest
from pydantic import ValidationError
from webshop_shops import shared_data

from sg_pipeline.environments.webshop.benchmark import TasksConfig, WebshopBenchmark
from sg_pipeline.environments.webshop.environment import WebShopEnvironment
from sg_pipeline.environments.webshop.generation.catalogue import CatalogueRecipe
from sg_pipeline.errors import ConfigurationError, DataError
from sg_pipeline.randomness import stream
from sg_pipeline.trajectories.types import Task

BENCHMARK = WebshopBenchmark()
SMALL = TasksConfig(panel="small")


def test_the_small_panel_is_prepared_and_can_be_played(tmp_path: Path) -> None:
    prepared = BENCHMARK.prepare(SMALL, tmp_path / "games", tmp_path / "compiled", tmp_path)
    assert {split: len(tasks) for split, tasks in prepared["splits"].items()} == {"train": 16, "dev": 8, "test": 8}
    assert prepared == BENCHMARK.prepare(SMALL, tmp_path / "games", tmp_path / "compiled", tmp_path)
    environment = WebShopEnvironment(tmp_path / "games" / prepared["data_root"], tmp_path / "compiled")
    for tasks in prepared["splits"].values():
        for task in tasks:
            assert "Instruction: [SEP] Find me " in environment.reset(Task(**task), seed=0).observation


def test_a_missing_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rapidfuzz", None)
    monkeypatch.delitem(sys.modules, "sg_pipeline.environments.webshop.reward")
    with pytest.raises(ConfigurationError, match=r"rapidfuzz is missing; install the extra 'webshop'"):
        BENCHMARK.prepare(SMALL, tmp_path / "games", tmp_path / "compiled", tmp_path)
    assert not (tmp_path / "games").exists()


def test_the_limit_keeps_the_first_tasks(tmp_path: Path) -> None:
    folders = (tmp_path / "games", tmp_path / "compiled", tmp_path)
    whole = BENCHMARK.prepare(SMALL, *folders)
    few = BENCHMARK.prepare(TasksConfig(panel="small", limit=3), *folders)
    assert few["splits"] == {split: tasks[:3] for split, tasks in whole["splits"].items()}
    assert few["sha256"] == whole["sha256"]


def test_new_goals_are_drawn_from_their_recipe(tmp_path: Path) -> None:
    config = TasksConfig(
        source="generate", catalogue=CatalogueRecipe(products=60, seed=9), sizes={"train": 5, "dev": 4}
    )
    prepared = BENCHMARK.prepare(config, tmp_path / "games", tmp_path / "compiled", tmp_path)
    assert {split: len(tasks) for split, tasks in prepared["splits"].items()} == {"train": 5, "dev": 4}


def test_official_data_are_split_as_the_authors_do(tmp_path: Path) -> None:
    config = TasksConfig(source="official", data=str(shared_data()), goals="synthetic", limit=600)
    prepared = BENCHMARK.prepare(config, tmp_path / "games", tmp_path / "compiled", tmp_path)
    positions = {split: [task["path"] for task in tasks] for split, tasks in prepared["splits"].items()}
    assert positions["test"] == [f"synthetic/{position}" for position in range(500)]
    assert positions["dev"][0] == "synthetic/500"
    assert positions["train"] == [f"synthetic/{position}" for position in range(1500, 2100)]
    ids = [task["task_id"] for tasks in prepared["splits"].values() for task in tasks]
    assert len(ids) == len(set(ids)) == 1700


def test_prepare_split_without_goals_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = TasksConfig(source="official", data=str(shared_data()))
    prepared = BENCHMARK.prepare(config, tmp_path / "games", tmp_path / "compiled", tmp_path)
    assert {split: len(tasks) for split, tasks in prepared["splits"].items()} == {"test": 13}
    assert "split train begins at 1500 and is left out" in caplog.text


def test_user_mistakes_raise_one_sentence(tmp_path: Path) -> None:
    folders = (tmp_path / "games", tmp_path / "compiled", tmp_path)
    with pytest.raises(ConfigurationError, match=r"neither a panel of the package \(default, small, validation\)"):
        BENCHMARK.prepare(TasksConfig(panel="smal"), *folders)
    with pytest.raises(ConfigurationError, match="neither a panel"):
        BENCHMARK.inputs(TasksConfig(panel="smal"), tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        BENCHMARK.prepare(TasksConfig(source="official", data="nowhere"), *folders)
    with pytest.raises(ValidationError, match="WEBSHOP_DATA"):
        TasksConfig(source="official")
    with pytest.raises(ConfigurationError, match="generated games"):
        BENCHMARK.demonstrator(TasksConfig(source="official", data="x"), *folders)


def test_the_panels_file_is_the_runs_input(tmp_path: Path) -> None:
    (path,) = BENCHMARK.inputs(SMALL, tmp_path).values()
    assert path.name == "small.json"
    assert BENCHMARK.inputs(TasksConfig(source="generate"), tmp_path) == {}


def test_every_page_and_command_is_in_the_vocabulary(tmp_path: Path) -> None:
    from sg_pipeline.policies.tokenizer import build_tokenizer

    tokenizer = build_tokenizer(BENCHMARK.vocabulary())
    demonstrator = BENCHMARK.demonstrator(SMALL, tmp_path, tmp_path, tmp_path)
    for number in range(40):
        demonstration = demonstrator.demonstrate(number, stream(4, number), 0.3)
        for turn in demonstration.turns:
            read = tokenizer(turn.observation, add_special_tokens=False).input_ids
            assert tokenizer.unk_token_id not in read, turn.observation
            assert len(read) <= 130
            written = tokenizer(turn.action, add_special_tokens=False).input_ids
            assert tokenizer.decode(written) == turn.action
            assert tokenizer.unk_token_id not in tokenizer(turn.guidance_text, add_special_tokens=False).input_ids
    demonstrator.close()
