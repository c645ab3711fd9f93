"""Two policies in one run: a frozen guide in training, guides of other checkpoints in evaluation, a distilled guide."""

import shutil

import polars as pl
import pytest
from kedro.io import DatasetError
from parameter_reads import parameter_reads
from project_copy import SMALL

from sg_pipeline.datasets.policy import PolicyDataset
from sg_pipeline.policies.checkpoint import load_policy, read_manifest
from sg_pipeline.runs.lineage import READ_IN_PART
from sg_pipeline.trajectories.types import Segment

pytestmark = pytest.mark.slow

DISTILL = {
    "distill.steps": 4, "distill.won_only": "false", "distill.epochs": 20, "distill.batch_tokens": 500,
    "distill.learning_rate": 3e-3,
}  # fmt: skip


def tokens(table, segment):
    return int((table["segments"].explode() == int(segment)).sum())


@pytest.fixture(scope="module")
def guide(project, finished):
    """Return a distilled guide's folder, from the project."""
    with parameter_reads() as found:
        project.run("distill", "guide", {"distill.source": finished, **DISTILL})
        project.run("tasks", "guide")
    for (room, part), names in found.items():
        # The pipeline tasks checks that the splits exist, which changes none of its outputs.
        assert names - {"splits"} == set(READ_IN_PART[room, part]), (room, part)
    return "data/06_models/guide/guide"


@pytest.fixture(scope="module")
def offline(project, guide):
    project.run("coevolve", "offline", {"rollout.guide": guide, "coevolve.steps": 2})
    return "offline"


def test_distilled_guide_is_another_policy_that_says_what_its_source_said(project, finished, guide):
    figures = project.json("08", "guide", "distillation.json")
    assert (figures["source"], figures["source_steps"]) == (finished, list(range(SMALL["coevolve.steps"])))
    # What an untrained source says on other games is chance: only what was shown can be learned from it.
    assert figures["training"]["loss"] < 0.8 * figures["held_out"]["before"]["loss"]
    assert project.weights("guide", "guide") != project.weights("guide", "base") == project.weights(finished, "base")
    assert read_manifest(project.root / guide)["name"] == f"guide of {finished}"


def test_guided_run_trains_only_actions_and_leaves_the_guide(project, guide, offline):
    for step in (0, 1):
        table = pl.read_parquet(project.data("03", offline) / f"step_00{step}" / "trajectories.parquet")
        metrics = project.json("08", offline, f"steps/step_00{step}.json")
        assert metrics["training"]["tokens_trained"] == tokens(table, Segment.ACTION)
        assert metrics["rollout"]["guide_tokens"] == tokens(table, Segment.GUIDANCE) > 0
        assert metrics["lambda"] * metrics["r_sg"] == pytest.approx(metrics["r_total"] - metrics["r_env"])
    assert metrics["lambda"] > 0
    assert project.weights(offline) != project.weights(offline, "base")
    assert project.data("07", offline).joinpath("final_with_guidance.parquet").is_file()
    load_policy(project.root / guide)  # its digests hold


def test_guided_run_resumes(project, guide, offline):
    before = project.weights(offline)
    shutil.rmtree(project.data("06", offline) / "final")
    (project.data("07", offline) / "final_with_guidance.parquet").unlink()
    project.run("coevolve", offline, {"rollout.guide": guide, "coevolve.steps": 2}, "--only-missing-outputs")
    assert project.weights(offline) == before
    assert (project.data("07", offline) / "final_with_guidance.parquet").is_file()


def test_guide_plays_only_in_evaluations_with_guidance(project, finished, offline):
    for mode, equal in (("without_guidance", True), ("with_guidance", False)):
        one, other = (pl.read_parquet(project.data("07", run) / f"base_{mode}.parquet") for run in (finished, offline))
        assert one.equals(other) == equal


def test_guide_with_other_content_is_refused(project, guide, offline):
    manifest = project.root / guide / "policy.json"
    before = manifest.read_text()
    manifest.write_text(before + " ")
    error = project.refuse("evaluate", offline, {"rollout.guide": guide, "coevolve.steps": 2})
    manifest.write_text(before)
    assert f"rollout.guide is '{guide}' as before, but its content has changed" in error


def test_missing_guide_is_refused_before_anything_is_played(project, finished):
    for pipeline in ("tasks", "base_model"):
        project.run(pipeline, "unguided", {"rollout.guide": "data/nowhere"})
    error = project.refuse("rollout", "unguided", {"rollout.guide": "data/nowhere"})
    assert error.startswith("rollout.guide is 'data/nowhere': There is no policy checkpoint in ")
    error = project.refuse("coevolve", "mute", {"rollout.guide": "data/nowhere", "rollout.guidance": "false"})
    assert "rollout.guidance is false, so there is nothing for a guide to write" in error
    error = project.refuse("distill", "pupil", {"distill.source": "nobody"})
    assert "distill.source is 'nobody', but it must name a run with training trajectories" in error
    assert finished in error


def test_cross_checkpoint_guides_one_policy_by_each_checkpoint(project, finished):
    run = project.copied(finished, "crossed")
    project.run("cross_checkpoint", run, {"cross_checkpoint.policy": 1.0})
    table = project.json("08", run, "cross_checkpoint.json")
    splits = ("valid_seen", "valid_unseen")
    pairs = [(row["split"], row["policy_step"], row["guide_step"]) for row in table]
    assert pairs == [(split, 4, guide) for split in splits for guide in (0, 2, 4)]
    assert {row["episodes"] for row in table} == {SMALL["evaluate.games"]}
    other, same, ordinary = (
        pl.read_parquet(project.data("07", run) / f"{name}.parquet")["completion_ids"].to_list()
        for name in (*(f"cross_checkpoint/policy_004_guide_{step}" for step in ("000", "004")), "final_with_guidance")
    )
    assert other != same == ordinary, "the policy as its own guide plays the ordinary evaluation"
    # Another policy of the same run needs no other run name.
    project.run("cross_checkpoint", run, {"cross_checkpoint.guides": "[0.0]"})
    assert {row["policy_step"] for row in project.json("08", run, "cross_checkpoint.json")} == {2}
    shutil.rmtree(project.data("06", run) / "checkpoints" / "step_001")
    assert "no policy exists in" in project.refuse("cross_checkpoint", run)


def test_missing_checkpoint_error_lists_the_existing_ones(tmp_path, base_policy):
    for name in ("step_009", "step_019"):
        shutil.copytree(base_policy, tmp_path / name)
    with pytest.raises(DatasetError, match=r"no policy exists in .*step_039 \(.* has step_009, step_019\); run"):
        PolicyDataset(filepath=str(tmp_path / "step_039")).load()
