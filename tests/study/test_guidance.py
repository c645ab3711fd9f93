"""Calibration and dials of the guidance, against the rooms that define them."""

import polars as pl
import pytest
from study_runs import GAMES, TITLES, guided_episodes, record, step_metrics, write_run

from sg_pipeline.config.loader import section
from sg_pipeline.errors import DataError
from sg_pipeline.evaluation.calibration import guidance_calibration
from sg_pipeline.rewards.returns import trajectory_returns
from sg_pipeline.study.comparison import group_runs
from sg_pipeline.study.guidance import calibration, guidance_dials, phase_dials
from sg_pipeline.study.records import read_record


def runs(tmp_path, seeds: int = 2):
    for seed in range(seeds):
        write_run(tmp_path, f"run{seed}", seed)
    return [read_record(tmp_path, "grpo_sg_gr", seed, f"run{seed}") for seed in range(seeds)]


def test_calibration_pools_seeds_and_has_the_change_of_each_measure(tmp_path):
    rows = calibration(group_runs(runs(tmp_path), TITLES))
    assert [(row["method"], row["split"]) for row in rows] == [
        ("base", "valid_seen"), ("base", "valid_unseen"), ("grpo_sg_gr", "valid_seen"), ("grpo_sg_gr", "valid_unseen"),
    ]  # fmt: skip
    base, final = rows[0], rows[2]
    assert (final["seeds"], final["turns"]) == (2, 2 * 3 * GAMES)
    tables = [pl.read_parquet(tmp_path / f"07_model_output/run{seed}/final_with_guidance.parquet") for seed in range(2)]
    # Episodes of different seeds are different episodes.
    pooled = pl.concat(table.with_columns(step=seed) for seed, table in enumerate(tables))
    expected = guidance_calibration(pooled.filter(pl.col("split") == "valid_seen"))
    assert final["auc.turns"]["value"] == pytest.approx(expected["auc"]["turns"])
    assert final["win_rate.neutral"]["value"] == pytest.approx(expected["labels"]["neutral"]["win_rate"])
    assert final["moved"]["auc.turns"]["value"] == pytest.approx(
        final["auc.turns"]["value"] - base["auc.turns"]["value"]
    )
    assert 0 <= final["win_rate.negative"]["ci95"][0] <= final["win_rate.positive"]["ci95"][1] <= 1
    assert final["auc_verdict"] in ("better", "worse", "within the noise")


def test_calibration_leaves_out_missing_episodes_and_names_a_broken_table(tmp_path):
    found = runs(tmp_path)
    (tmp_path / "07_model_output/run1/final_with_guidance.parquet").unlink()
    rows = calibration(group_runs(found, TITLES))
    assert [row["seeds"] for row in rows] == [2, 2, 1, 1]
    (tmp_path / "07_model_output/run0/base_with_guidance.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"run0/base_with_guidance.parquet is not a readable table"):
        calibration(group_runs(found, TITLES))


def write_steps(data, name, steps):
    for step in range(steps):
        turns = guided_episodes(0.5, seed=step, step=step).filter(pl.col("split") == "valid_seen")
        rewards = trajectory_returns(turns, section("aggregate").polarity, 0.0, 1.0)
        for layer, file, table in (
            ("03_primary", "trajectories", turns),
            ("04_feature", "rewards", rewards.filter(pl.col("group") > 0)),
        ):
            path = data / layer / name / f"step_{step:03d}" / f"{file}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            table.write_parquet(path)


def test_dials_of_a_phase_come_from_metrics_and_tables(tmp_path):
    write_run(tmp_path, "run0")
    write_steps(tmp_path, "run0", 4)
    found = phase_dials(read_record(tmp_path, "grpo_sg_gr", 0, "run0"))
    assert list(found) == ["phase_1_warmup", "phase_2_activation", "phase_3_full", "phase_4_annealing"]
    dials = found["phase_2_activation"]
    turns = guided_episodes(0.5, seed=1, step=1).filter((pl.col("split") == "valid_seen") & (pl.col("group") > 0))
    rewards = trajectory_returns(turns, section("aggregate").polarity, 0.0, 1.0)
    wins, losses = (rewards.filter(pl.col("won") == won)["r_sg"].mean() for won in (True, False))
    assert (dials["first"], dials["last"], dials["lambda"], dials["positive_share"]) == (1, 1, 0.5, 0.5)
    assert dials["r_sg_wins"] == pytest.approx(wins)
    assert dials["r_sg_gap"] == pytest.approx(wins - losses)
    assert dials["auc"] == pytest.approx(guidance_calibration(turns)["auc"]["turns"])


def test_dials_without_tables_are_those_of_the_metrics():
    found = phase_dials(record("grpo_sg_gr", 0, 20))["phase_1_warmup"]
    assert (found["r_sg_gap"], found["r_sg_wins"], found["auc"]) == (0.5, None, None)
    plain = phase_dials(record("grpo", 0, 20, guided=False))["phase_1_warmup"]
    assert (plain["positive_share"], plain["success_rate"]) == (None, pytest.approx(0.28125))


def test_dials_of_a_method_without_schedule_are_cut_at_the_phases_of_the_others():
    off = record("grpo_sg", 0, 20, metrics=step_metrics(phase="phase_1_warmup"))
    found = guidance_dials(group_runs([off, record("grpo_sg_gr", 0, 20), record("grpo_sg_gr", 1, 20)], TITLES))
    assert list(found["grpo_sg"]) == ["steps_000_001", "steps_002_003", "steps_004_005", "steps_006_007"]
    dial = found["grpo_sg_gr"]["phase_3_full"]["success_rate"]
    assert dial == {"mean": pytest.approx(0.53125), "least": pytest.approx(0.53125), "most": pytest.approx(0.53125)}
    assert found["grpo_sg_gr"]["phase_3_full"]["seeds"] == 2
    assert list(guidance_dials(group_runs([off], TITLES))["grpo_sg"]) == ["phase_1_warmup"]
