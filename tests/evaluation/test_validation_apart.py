"""Games that choose among policies must neither train nor judge them."""

from dataclasses import asdict
from pathlib import Path

import pytest

from sg_pipeline.config.loader import section
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.evaluation.play import check_apart
from sg_pipeline.pipelines import validation as nodes
from sg_pipeline.pipelines.validation import prepare_validation_panel
from sg_pipeline.trajectories.types import Task


def games(split: str, numbers: range) -> list[dict[str, str]]:
    return [asdict(Task(f"{split}-{n}", "alfworld", split, "t", f"g{n}", str(n))) for n in numbers]


OWN = {"train": games("train", range(4)), "dev": games("dev", range(4, 8)), "test": games("test", range(8, 12))}


class Rest:
    """A benchmark whose validation panel is a part of its split dev."""

    def prepare(self, config, games_folder, compiled, root):
        return {"splits": {"dev": games("dev", range(5, 7))}}


def prepare(splits: tuple[str, ...] | None, monkeypatch: pytest.MonkeyPatch) -> dict:
    monkeypatch.setattr(nodes, "load_benchmark", lambda _: Rest())
    config, own, here = section("validation", split="dev"), {"splits": OWN}, Path()
    evaluation = section("evaluate", splits=splits)
    return prepare_validation_panel(config, evaluation, section("environment"), section("tasks"), own, here, here, here)


def test_validation_split_that_is_not_evaluated_is_accepted(monkeypatch):
    assert prepare(("test",), monkeypatch)["splits"]["dev"][0]["task_id"] == "dev-5"
    for splits in (None, ("dev", "test")):
        with pytest.raises(ConfigurationError, match="2 of its games, such as 'dev-5', are also games of dev"):
            prepare(splits, monkeypatch)


def test_validation_game_that_is_trained_on_raises():
    with pytest.raises(ConfigurationError, match="are also games of train"):
        check_apart({"splits": {"dev": games("dev", range(3, 6))}}, "dev", {"train": OWN["train"]}, "mine")
    with pytest.raises(ConfigurationError, match=r"validation\.split is 'valid', but the panel 'mine' has dev"):
        check_apart({"splits": {"dev": []}}, "valid", OWN, "mine")
