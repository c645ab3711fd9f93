"""Which checkpoints stay: the last, the best, those that are needed; and what is left of the others."""

import json
from pathlib import Path

import pytest

from sg_pipeline.config.base_model import TinyConfig
from sg_pipeline.config.checkpoints import shard_bytes
from sg_pipeline.config.loader import section
from sg_pipeline.environments.alfworld.vocabulary import alfworld_vocabulary
from sg_pipeline.errors import CheckpointError
from sg_pipeline.policies import checkpoint
from sg_pipeline.policies.checkpoint import checkpoint_exists, is_pruned, is_whole, load_policy, prune_policy
from sg_pipeline.policies.retention import check_there, folder_after, read_best, tidy
from sg_pipeline.policies.tiny import build_tiny
from sg_pipeline.policies.tokenizer import build_tokenizer

TEN = section("coevolve", steps=10, checkpoint_every=2)
"""Writes base, checkpoints after 2, 4, 6, 8 steps, final."""


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    """Return the folder of a policy, to be copied."""
    tiny = TinyConfig(hidden_size=8, layers=1, heads=1, head_dim=8, intermediate_size=8)
    folder = tmp_path_factory.mktemp("original") / "policy"
    checkpoint.save_policy(build_tiny(tiny, build_tokenizer(alfworld_vocabulary()), 1), folder)
    return folder


@pytest.fixture
def run(tmp_path, original):
    """Return (models, reports, write): `write(after)` writes a policy as a run does, its steps' metrics before it."""
    models, reports = tmp_path / "models", tmp_path / "reports"

    def write(*many: int) -> None:
        for after in many:
            for step in range(max(0, after - 2), after):
                success = {2: 0.1, 4: 0.7, 6: 0.3, 8: 0.5, 10: 0.2}[after]
                path = reports / "steps" / f"step_{step:03d}.json"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps({"success_rate": success + (0.1 if step % 2 else -0.1)}))
            copy_tree(original, folder_after(models, after, 10))

    write(0)
    return models, reports, write


def copy_tree(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())


def whole(models: Path) -> list[int]:
    return [after for after in (0, 2, 4, 6, 8, 10) if is_whole(folder_after(models, after, 10))]


def test_tidy_by_default_keeps_all_and_chooses_none(run) -> None:
    models, reports, write = run
    write(2, 4, 6, 8, 10)
    assert tidy(models, reports, section("checkpoints"), TEN) == []
    assert whole(models) == [0, 2, 4, 6, 8, 10]
    assert read_best(models) is None


def test_tidy_keeps_the_last_checkpoints(run) -> None:
    models, reports, write = run
    kept = []
    for after in (2, 4, 6, 8, 10):
        write(after)
        tidy(models, reports, section("checkpoints", keep_last=2), TEN)
        kept.append(whole(models))
    assert kept == [[0, 2], [0, 2, 4], [0, 4, 6], [0, 6, 8], [0, 6, 8, 10]]
    assert [after for after in (2, 4, 6, 8) if is_pruned(folder_after(models, after, 10))] == [2, 4]


def test_tidy_keeps_the_best_by_training_success_and_the_needed(run) -> None:
    models, reports, write = run
    config = section("checkpoints", keep_last=1, best="train_success")
    write(2, 4, 6)
    tidy(models, reports, config, TEN, needed={2})
    assert whole(models) == [0, 2, 4, 6]
    write(8, 10)
    assert tidy(models, reports, config, TEN) == [2, 6]
    assert whole(models) == [0, 4, 8, 10]
    best = read_best(models)
    assert best["value"] == pytest.approx(0.7)
    assert (best["after"], best["folder"], best["by"]) == (4, "checkpoints/step_003", "train_success")
    assert "training episodes" in best["measured_on"]


def test_tidy_by_validation_keeps_checkpoints_without_a_validation(run) -> None:
    models, reports, write = run
    config = section("checkpoints", keep_last=1, best="validation")
    write(2, 4, 6, 8)
    assert tidy(models, reports, config, TEN) == []
    (reports / "validation").mkdir()
    for after, success in ((2, 0.4), (4, 0.2), (6, 0.4)):
        (reports / "validation" / f"after_{after:03d}.json").write_text(json.dumps({"success_rate": success}))
    assert tidy(models, reports, config, TEN) == [2, 4]
    assert read_best(models)["after"] == 6, "of equals the later one"


def test_pruned_checkpoint_exists_but_loading_it_raises(run) -> None:
    models, _, write = run
    write(2)
    folder = folder_after(models, 2, 10)
    size = sum(path.stat().st_size for path in folder.iterdir() if path.name != checkpoint.MANIFEST)
    assert prune_policy(folder) == size
    assert [path.name for path in folder.iterdir()] == [checkpoint.MANIFEST]
    assert checkpoint_exists(folder)
    assert not is_whole(folder)
    with pytest.raises(CheckpointError, match=r"step_001' was pruned to save disk space \(checkpoints\.keep_last\)"):
        load_policy(folder)
    with pytest.raises(
        CheckpointError, match=r"a study needs the checkpoints of .* after 2 steps, but they were pruned"
    ):
        check_there(models, TEN, {0, 2, 10}, "a study")
    check_there(models, TEN, {0, 4, 10}, "a study")


def test_prune_policy_kill_leaves_a_complete_or_pruned_checkpoint(run, monkeypatch) -> None:
    models, reports, write = run
    write(2, 4)

    class Killed(BaseException):
        pass

    def kill(self, *_, **__):
        if self.suffix == ".safetensors":
            raise Killed
        return unlink(self, *_, **__)

    unlink = Path.unlink
    monkeypatch.setattr(Path, "unlink", kill)
    with pytest.raises(Killed):
        tidy(models, reports, section("checkpoints", keep_last=1), TEN)
    monkeypatch.undo()
    folder = folder_after(models, 2, 10)
    assert is_pruned(folder)
    assert (folder / "model.safetensors").exists()
    assert is_whole(folder_after(models, 4, 10))
    tidy(models, reports, section("checkpoints"), TEN)  # also where nothing more is to be pruned
    assert [path.name for path in folder.iterdir()] == [checkpoint.MANIFEST]


def test_save_policy_over_a_pruned_checkpoint_restores_it(run, original) -> None:
    models, _, write = run
    write(2)
    folder = folder_after(models, 2, 10)
    prune_policy(folder)
    checkpoint.save_policy(load_policy(original), folder)
    assert is_whole(folder)
    assert load_policy(folder).step == 0


@pytest.mark.parametrize("size", ["", "5", "GB", "0GB", "-1GB", "5 GiB"])
def test_max_shard_size_without_number_and_unit_raises(size) -> None:
    assert shard_bytes("1.5MB") == 1_500_000
    with pytest.raises(ValueError, match="KB, MB or GB"):
        section("checkpoints", max_shard_size=size)
