"""WebShop as a benchmark: prepared panels, the expert, the words."""

import sys
from pathlib import Path
from typing import Any

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


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Games, compiled files, base of relative paths."""
    return tmp_path / "games", tmp_path / "compiled", tmp_path


def sizes(prepared: dict[str, Any]) -> dict[str, int]:
    return {split: len(tasks) for split, tasks in prepared["splits"].items()}


def test_the_small_panel_is_prepared_and_can_be_played(tmp_path: Path, folders: tuple[Path, Path, Path]) -> None:
    prepared = BENCHMARK.prepare(SMALL, *folders)
    assert sizes(prepared) == {"train": 16, "dev": 8, "test": 8}
    few = BENCHMARK.prepare(TasksConfig(panel="small", limit=3), *folders)
    assert few == {**prepared, "splits": {split: tasks[:3] for split, tasks in prepared["splits"].items()}}
    environment = WebShopEnvironment(tmp_path / "games" / prepared["data_root"], tmp_path / "compiled")
    for tasks in prepared["splits"].values():
        for task in tasks:
            assert "Instruction: [SEP] Find me " in environment.reset(Task(**task), seed=0).observation


def test_a_missing_package_names_the_extra(folders: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rapidfuzz", None)
    monkeypatch.delitem(sys.modules, "sg_pipeline.environments.webshop.reward")
    with pytest.raises(ConfigurationError, match=r"rapidfuzz is missing; install the extra 'webshop'"):
        BENCHMARK.prepare(SMALL, *folders)
    assert not folders[0].exists()


def test_new_goals_are_drawn_from_their_recipe(folders: tuple[Path, Path, Path]) -> None:
    recipe = CatalogueRecipe(products=60, seed=9)
    config = TasksConfig(source="generate", catalogue=recipe, sizes={"train": 5, "dev": 4})
    assert sizes(BENCHMARK.prepare(config, *folders)) == {"train": 5, "dev": 4}


def test_official_data_are_split_as_the_authors_do(folders: tuple[Path, Path, Path]) -> None:
    config = TasksConfig(source="official", data=str(shared_data()), goals="synthetic", limit=600)
    prepared = BENCHMARK.prepare(config, *folders)
    positions = {split: [task["path"] for task in tasks] for split, tasks in prepared["splits"].items()}
    assert positions["test"] == [f"synthetic/{position}" for position in range(500)]
    assert positions["dev"][0] == "synthetic/500"
    assert positions["train"] == [f"synthetic/{position}" for position in range(1500, 2100)]
    ids = [task["task_id"] for tasks in prepared["splits"].values() for task in tasks]
    assert len(ids) == len(set(ids)) == 1700


def test_prepare_split_without_goals_is_left_out(
    folders: tuple[Path, Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    config = TasksConfig(source="official", data=str(shared_data()))
    assert sizes(BENCHMARK.prepare(config, *folders)) == {"test": 13}
    assert "split train begins at 1500 and is left out" in caplog.text


def test_user_mistakes_raise_one_sentence(tmp_path: Path, folders: tuple[Path, Path, Path]) -> None:
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
