"""Calibration and dials of the guidance, against the figures of the rooms that define them."""

import numpy as np
import polars as pl
import pytest
from study_runs import GAMES, TITLES, guided_episodes, record, step_metrics, write_run

from sg_pipeline.config.rewards import PolarityValues
from sg_pipeline.errors import DataError
from sg_pipeline.evaluation.calibration import guidance_calibration
from sg_pipeline.rewards.returns import trajectory_returns
from sg_pipeline.study.calibration import FIGURES, calibration, figures, label_counts
from sg_pipeline.study.comparison import group_runs
from sg_pipeline.study.dials import guidance_dials, phase_dials
from sg_pipeline.study.records import read_record


def test_figures_are_those_of_evaluation():
    table = guided_episodes(0.5, seed=1)
    found = dict(zip(FIGURES, figures(label_counts(table)).tolist(), strict=True))
    expected = guidance_calibration(table)
    for label, about in expected["labels"].items():
        assert found[f"win_rate.{label}"] == pytest.approx(about["win_rate"])
        assert found[f"share.{label}"] == pytest.approx(about["share"])
    for third in ("turns", "early", "middle", "late"):
        assert found[f"auc.{third}"] == pytest.approx(expected["auc"][third])
    for part, value in expected["brier"].items():
        assert found[f"brier.{part}"] == pytest.approx(value)


def test_counts_by_game_add_up_and_unguided_turns_are_left_out():
    table = guided_episodes(0.5, seed=1).filter(pl.col("split") == "valid_seen")
    games = sorted(set(table["task_id"]))
    assert label_counts(table, games).sum(axis=0) == pytest.approx(label_counts(table))
    assert label_counts(table, games[:2]).sum() == 6
    assert label_counts(table.with_columns(polarity=pl.lit(None, dtype=pl.String))).sum() == 0


def test_an_absent_label_is_undefined_and_takes_nothing_from_the_others():
    counts = np.zeros((3, 3, 2))
    counts[0, 2] = [1, 3]
    found = dict(zip(FIGURES, figures(counts).tolist(), strict=True))
    assert np.isnan(found["win_rate.negative"])
    assert found["win_rate.positive"] == 0.75
    assert found["brier.score"] == pytest.approx(0.25)
    assert found["auc.turns"] == 0.5


def runs(tmp_path, seeds: int = 2):
    for seed in range(seeds):
        write_run(tmp_path, f"run{seed}", seed)
    return [read_record(tmp_path, "grpo_sg_gr", seed, f"run{seed}") for seed in range(seeds)]


def test_calibration_of_base_and_final_with_what_moved(tmp_path):
    rows = calibration(group_runs(runs(tmp_path), TITLES))
    assert [(row["method"], row["split"]) for row in rows] == [
        ("base", "valid_seen"), ("base", "valid_unseen"), ("grpo_sg_gr", "valid_seen"), ("grpo_sg_gr", "valid_unseen"),
    ]  # fmt: skip
    base, final = rows[0], rows[2]
    assert (final["seeds"], final["turns"]) == (2, 2 * 3 * GAMES)
    pooled = pl.concat(
        pl.read_parquet(tmp_path / f"07_model_output/run{seed}/final_with_guidance.parquet") for seed in range(2)
    ).filter(pl.col("split") == "valid_seen")
    assert final["auc.turns"]["value"] == pytest.approx(
        dict(zip(FIGURES, figures(label_counts(pooled)), strict=True))["auc.turns"]
    )
    assert final["moved"]["auc.turns"]["value"] == pytest.approx(
        final["auc.turns"]["value"] - base["auc.turns"]["value"]
    )
    assert 0 <= final["win_rate.negative"]["ci95"][0] <= final["win_rate.positive"]["ci95"][1] <= 1
    assert final["auc_verdict"] in ("better", "worse", "within the noise")


def test_episodes_that_are_gone_are_left_out_and_broken_ones_named(tmp_path):
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
        rewards = trajectory_returns(turns, PolarityValues(), 0.0, 1.0)
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
    rewards = trajectory_returns(turns, PolarityValues(), 0.0, 1.0)
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


def test_a_method_without_schedule_is_cut_where_the_others_change_phase():
    off = record("grpo_sg", 0, 20, metrics=step_metrics(phase="phase_1_warmup"))
    found = guidance_dials(group_runs([off, record("grpo_sg_gr", 0, 20), record("grpo_sg_gr", 1, 20)], TITLES))
    assert list(found["grpo_sg"]) == ["steps_000_001", "steps_002_003", "steps_004_005", "steps_006_007"]
    dial = found["grpo_sg_gr"]["phase_3_full"]["success_rate"]
    assert dial == {"mean": pytest.approx(0.53125), "least": pytest.approx(0.53125), "most": pytest.approx(0.53125)}
    assert found["grpo_sg_gr"]["phase_3_full"]["seeds"] == 2
    assert list(guidance_dials(group_runs([off], TITLES))["grpo_sg"]) == ["phase_1_warmup"]
