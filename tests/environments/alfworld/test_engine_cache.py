"""Compiled games on disk: reused, replaced when damaged, the same for any number of workers."""

import json
import logging
import os
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import pytest
from alfworld_games import generated_task, write_task

from sg_pipeline.environments.alfworld import fast_engine
from sg_pipeline.environments.alfworld.compile import compile_games, translate
from sg_pipeline.environments.alfworld.compiled import CompiledGame, cache_path, load_cached
from sg_pipeline.environments.alfworld.gamefile import read_game
from sg_pipeline.errors import ConfigurationError, DataError

KINDS = ("pick_and_place_simple", "pick_two_obj_and_place", "pick_cool_then_place_in_recep")


@pytest.fixture
def games(tmp_path: Path) -> list[Path]:
    return [tmp_path / generated_task(tmp_path, kind).path for kind in KINDS]


def by_digest(paths: list[Path]) -> dict[str, Path]:
    return {read_game(path).sha256: path for path in paths}


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_compiled_game_round_trip(games: list[Path]) -> None:
    game = translate(read_game(games[0]))
    assert CompiledGame.from_bytes(game.to_bytes()) == game


def test_panel_is_compiled_once_and_the_same_by_any_number_of_workers(games: list[Path], tmp_path: Path) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    assert compile_games(by_digest(games), alone, workers=1) == 3
    assert compile_games(by_digest(games), alone, workers=1) == 0
    assert compile_games(by_digest(games[::-1]), together, workers=2) == 3
    assert _contents(alone) == _contents(together)
    assert len(_contents(alone)) == 3


def test_translation_does_not_depend_on_the_hash_seed(games: list[Path], tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from sg_pipeline.environments.alfworld.compile import compile_games; "
        "compile_games({sys.argv[3]: Path(sys.argv[1])}, Path(sys.argv[2]))"
    )
    here, there = tmp_path / "here", tmp_path / "there"
    compile_games(by_digest(games[1:2]), here)
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    subprocess.run(
        [sys.executable, "-c", program, games[1], there, *by_digest(games[1:2])], check=True, env=environment
    )
    assert _contents(here) == _contents(there) != {}


@pytest.mark.parametrize("damage", [b"", b"rubbish", "cut", "flipped"])
def test_compile_games_replaces_damaged_entry(
    games: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: bytes | str
) -> None:
    cache = tmp_path / "cache"
    compile_games(by_digest(games[:1]), cache)
    entry = cache_path(cache, read_game(games[0]).sha256)
    whole = entry.read_bytes()
    flipped = whole[:200] + bytes([whole[200] ^ 1]) + whole[201:]
    entry.write_bytes({"cut": whole[:-10], "flipped": flipped}[damage] if isinstance(damage, str) else damage)
    with caplog.at_level(logging.WARNING):
        assert compile_games(by_digest(games[:1]), cache) == 1
    assert str(entry) in caplog.text
    assert entry.read_bytes() == whole


def test_entry_of_other_library_versions_is_not_used(
    games: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_games(by_digest(games[:1]), tmp_path / "cache")
    sha256 = read_game(games[0]).sha256
    assert load_cached(tmp_path / "cache", sha256) is not None
    monkeypatch.setattr("sg_pipeline.environments.alfworld.compiled.toolchain", lambda: "another")
    assert load_cached(tmp_path / "cache", sha256) is None


def test_compile_games_names_bad_game_and_compiles_others(games: list[Path], tmp_path: Path) -> None:
    game = json.loads(games[0].read_bytes())
    broken = [
        tmp_path / write_task(tmp_path, name, "", json.dumps({**game, "pddl_problem": name}).encode()).path
        for name in ("broken-b", "broken-a")
    ]
    with pytest.raises(DataError, match=r"broken-a.*\(2 games in all\)\.$"):
        compile_games(by_digest([*broken, *games]), tmp_path / "cache")
    assert len(_contents(tmp_path / "cache")) == 3


def test_compile_games_unwritable_cache_raises(games: list[Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        compile_games(by_digest(games[:1]), tmp_path / "file" / "cache")


def test_idle_games_are_released_and_games_in_play_kept(
    games: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast_engine, "_MAX_IDLE_GAMES", 1)
    monkeypatch.setattr(fast_engine, "_games", OrderedDict())  # without those that other tests still play
    files = [read_game(path) for path in games]
    engines = [fast_engine.FastEngine(admissible=True, cache_dir=tmp_path / "cache") for _ in games]
    first = [engine.start(file) for engine, file in zip(engines, files, strict=True)]
    assert all(file.sha256 in fast_engine._games for file in files)
    for engine in engines:
        engine.close()
    assert engines[2].start(files[2]) == first[2]
    assert files[2].sha256 in fast_engine._games
    assert sum(file.sha256 in fast_engine._games for file in files) <= 2
    assert engines[0].start(files[0]) == first[0]


def test_forgetting_states_changes_nothing(games: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def play() -> list[object]:
        engine = fast_engine.FastEngine(admissible=True)
        frames = [engine.start(read_game(games[0]))]
        for command in json.loads(games[0].read_bytes())["walkthrough"]:
            frames += [engine.step("look"), engine.step("inventory"), engine.step(command)]
        engine.close()
        return list(frames)

    remembered = play()
    monkeypatch.setattr(fast_engine, "_MAX_STATES", 2)
    monkeypatch.setattr(fast_engine, "_MAX_IDLE_GAMES", 0)
    fast_engine._games.clear()
    assert play() == remembered
