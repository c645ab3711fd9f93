"""The whole graph with TextArena's games and a small random language model."""

import polars as pl
import pytest
from project_copy import SMALL, ProjectCopy, sentence

pytestmark = pytest.mark.slow

pytest.importorskip("textarena")

GAMES = "FrozenLake-v0+2048-v0-mega-easy"


def test_coevolve_plays_textarena(tmp_path, language_model):
    project = ProjectCopy(tmp_path)
    given = {
        **{name: value for name, value in SMALL.items() if name != "tasks.compile_workers"},
        "environment.name": "textarena",
        "run.name": "arena",
        "base_model.source": "pretrained",
        "base_model.path": language_model,
        "coevolve.steps": 2,
        "rollout.max_length": 8000,
        "rollout.max_new_tokens": 8,
    }

    def coevolve(**more):
        parameters = ",".join(f"{name.replace('__', '.')}={value}" for name, value in {**given, **more}.items())
        return project.kedro("run", "--env=smoke", "--pipeline=coevolve", f"--params={parameters}")

    result = coevolve(tasks__games=GAMES)
    assert result.exit_code == 0, result.output
    summary = project.json("08", "arena", "summary.json")
    assert (summary["environment"], summary["panel"]) == ("textarena", GAMES.replace("+", ", "))
    assert summary["final"].keys() >= {"valid_seen", "valid_unseen"}
    table = pl.read_parquet(project.data("03", "arena") / "step_000" / "trajectories.parquet")
    assert set(table["task_type"]) == set(GAMES.split("+"))
    assert all(text.startswith(("Welcome to Frozen Lake!", "You are playing 2048")) for text in openings(table))
    refused = sentence(coevolve(tasks__games=f"{GAMES}+Wordle-v0", run__name="refused"))
    assert refused.endswith("'Wordle-v0' cannot be played here, because it downloads word lists with nltk")


def openings(table):
    return table.group_by("group", "item", maintain_order=True).first()["observation"]
