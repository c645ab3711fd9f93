import pytest
from study_runs import TITLES, record, step_metrics

from sg_pipeline.study.comparison import group_runs
from sg_pipeline.study.results import costs, learning_curves, learning_speed


def test_curves_are_means_of_moving_averages_with_the_range_of_the_seeds():
    runs = [record("grpo_sg", 0, 20), record("grpo_sg", 1, 20, metrics=step_metrics(success_rate=0.5))]
    curve = learning_curves(group_runs(runs, TITLES))["grpo_sg"]
    assert (curve["window"], curve["seeds"], curve["step"]) == (3, 2, list(range(8)))
    assert curve["tokens"] == [30.0 * step for step in range(1, 9)]
    assert curve["trust"] == [0.0, 0.0, 0.5, 0.5, 1.0, 1.0, 0.25, 0.25]
    # Seed 0 at step 4: the mean of 0.25 + 3/16, 4/16, 5/16.
    success = {name: values[4] for name, values in curve["success_rate"].items()}
    assert success == {"mean": pytest.approx(0.5), "least": pytest.approx(0.5), "most": pytest.approx(0.5)}
    assert (curve["success_rate"]["least"][0], curve["success_rate"]["most"][0]) == (pytest.approx(0.28125), 0.5)


def test_curves_leave_out_missing_metrics_and_keep_gaps():
    plain = record("grpo", 0, 20, guided=False)
    assert "r_sg_gap" not in learning_curves(group_runs([plain], TITLES))["grpo"]
    sparse = step_metrics()
    for step in sparse[:3]:
        step["r_sg_gap"] = None
    gap = learning_curves(group_runs([record("grpo_sg", 0, 20, metrics=sparse)], TITLES))["grpo_sg"]["r_sg_gap"]
    assert gap["mean"][:3] == [None, None, 0.5]


def test_runs_of_different_length_end_with_the_shortest_and_cost_their_mean():
    longer = record("grpo_sg", 0, 20, metrics=step_metrics(rollout={"sampled_tokens": 35, "guide_tokens": 5}))
    runs = [longer, record("grpo_sg", 1, 20, metrics=step_metrics(4), wall_seconds=20.0)]
    study = group_runs(runs, TITLES)
    assert learning_curves(study)["grpo_sg"]["step"] == [0, 1, 2, 3]
    assert costs(study)["grpo_sg"] == {
        "steps": 6.0, "episodes": 24.0, "turns": 72.0, "tokens_sampled": 180.0, "tokens_trained": 144.0,
        "optimizer_steps": 12.0, "step_seconds": 24.0, "wall_seconds": 40.0, "seeds": 2,
    }  # fmt: skip


def test_speed_is_the_success_while_learning_paired_with_the_first_methods_seeds():
    """Seed 0 of both rises from 1/4 by 1/16 a step, seed 1 stays at 1/2."""
    flat = step_metrics(success_rate=0.5)
    better = step_metrics(success_rate=0.75)
    runs = [record("grpo", 0, 20), record("grpo", 1, 20, metrics=flat), record("grpo_sg", 1, 20, metrics=better)]
    speed = learning_speed(group_runs(runs, TITLES))
    first, last = speed["grpo"]["quarters"][0], speed["grpo"]["quarters"][-1]
    assert first == {"mean": pytest.approx((9 / 32 + 1 / 2) / 2), "least": pytest.approx(9 / 32), "most": 0.5}
    assert last == {"mean": pytest.approx((21 / 32 + 1 / 2) / 2), "least": 0.5, "most": pytest.approx(21 / 32)}
    assert speed["grpo"]["all"]["least"] == pytest.approx(15 / 32)
    assert (speed["grpo"]["lead"], speed["grpo_sg"]["lead"]["mean"]) == (None, 0.25)
    assert not learning_speed(group_runs([record("grpo", 0, 20, metrics=flat[:3])], TITLES))
