"""Compiled games on disk: reused, replaced when damaged, the same for any number of workers."""

import json
import logging
from collections import OrderedDict
from pathlib import Path

import pytest
from alfworld_games import generated_task, write_task

from sg_pipeline.environments.alfworld import fast_engine
from sg_pipeline.environments.alfworld.compile import compile_games, translate
from sg_pipeline.environments.alfworld.compiled import cache_path, load_cached
from sg_pipeline.environments.alfworld.gamefile import read_game
from sg_pipeline.errors import ConfigurationError, DataError

KINDS = ("pick_and_place_simple", "pick_two_obj_and_place", "pick_cool_then_place_in_recep")


@pytest.fixture
def games(tmp_path: Path) -> dict[str, Path]:
    """Games by digest."""
    tasks = [generated_task(tmp_path, kind) for kind in KINDS]
    return {task.sha256: tmp_path / task.path for task in tasks}


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_panel_is_compiled_once_and_the_same_by_any_number_of_workers(games: dict[str, Path], tmp_path: Path) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    assert compile_games(games, alone, workers=1) == 3
    assert compile_games(games, alone, workers=1) == 0
    assert compile_games(dict(reversed(games.items())), together, workers=2) == 3
    assert _contents(alone) == _contents(together)
    assert len(_contents(alone)) == 3


@pytest.mark.parametrize("damage", ["emptied", "cut", "flipped"])
def test_compile_games_replaces_damaged_entry(
    games: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    compile_games(games, tmp_path / "cache")
    entry = cache_path(tmp_path / "cache", next(iter(games)))
    whole = entry.read_bytes()
    flipped = whole[:200] + bytes([whole[200] ^ 1]) + whole[201:]
    entry.write_bytes({"emptied": b"", "cut": whole[:-10], "flipped": flipped}[damage])
    with caplog.at_level(logging.WARNING):
        assert compile_games(games, tmp_path / "cache") == 1
    assert str(entry) in caplog.text
    assert entry.read_bytes() == whole


def test_entry_is_the_translation_by_these_library_versions(
    games: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_games(games, tmp_path / "cache")
    for sha256, path in games.items():
        assert load_cached(tmp_path / "cache", sha256) == translate(read_game(path))
    monkeypatch.setattr("sg_pipeline.environments.alfworld.compiled.toolchain", lambda: "another")
    assert not any(load_cached(tmp_path / "cache", sha256) for sha256 in games)


def test_compile_games_names_bad_game_and_compiles_others(games: dict[str, Path], tmp_path: Path) -> None:
    game = json.loads(next(iter(games.values())).read_bytes())
    for name in ("broken-b", "broken-a"):
        task = write_task(tmp_path, name, "", json.dumps({**game, "pddl_problem": name}).encode())
        games[task.sha256] = tmp_path / task.path
    with pytest.raises(DataError, match=r"broken-a.*\(2 games in all\)\.$"):
        compile_games(games, tmp_path / "cache")
    assert len(_contents(tmp_path / "cache")) == 3


def test_compile_games_unwritable_cache_raises(games: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        compile_games(games, tmp_path / "file" / "cache")


def test_idle_games_are_released_and_games_in_play_kept(
    games: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast_engine, "_MAX_IDLE_GAMES", 1)
    monkeypatch.setattr(fast_engine, "_games", OrderedDict())  # without those that other tests still play
    files = [read_game(path) for path in games.values()]
    engines = [fast_engine.FastEngine(tmp_path / "cache") for _ in files]
    first = [engine.start(file) for engine, file in zip(engines, files, strict=True)]
    assert fast_engine._games.keys() == games.keys()
    for engine in engines:
        engine.close()
    assert engines[2].start(files[2]) == first[2]
    assert set(fast_engine._games) == {files[1].sha256, files[2].sha256}
    assert engines[0].start(files[0]) == first[0]


def test_forgetting_states_changes_nothing(games: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def play() -> list[object]:
        monkeypatch.setattr(fast_engine, "_games", OrderedDict())
        game, engine = read_game(next(iter(games.values()))), fast_engine.FastEngine()
        frames: list[object] = [engine.start(game)]
        for command in game.data["walkthrough"]:
            frames += [engine.step("look"), engine.step("inventory"), engine.step(command)]
            frames.append(engine.admissible_commands())
        return frames

    remembered = play()
    monkeypatch.setattr(fast_engine, "_MAX_STATES", 2)
    assert play() == remembered
