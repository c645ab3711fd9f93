import pytest
from study_runs import GAMES, TITLES, record, records

from sg_pipeline.study.comparison import group_runs, guidance_at_inference, pairs, scores
from sg_pipeline.study.statistics import BETTER, NOISE


def test_group_runs_orders_methods_as_their_titles_and_compares_others_with_the_first():
    study = group_runs([*records({"own": 20}), *records({"grpo_sg": 20, "grpo": 20})], TITLES)
    assert list(study.runs) == ["grpo", "grpo_sg", "own"]
    assert [run.seed for run in study.runs["own"]] == [0, 1, 2]
    assert study.titles["own"] == "own"
    unplanned = {(row["left"], row["right"]) for row in pairs(study)["rows"] if "own" in (row["left"], row["right"])}
    assert unplanned == {("own", "grpo")}  # the first one


def test_scores_cover_both_modes_and_the_gain():
    found = scores(group_runs([record("grpo_sg", seed, 28 + seed, base=16) for seed in range(3)], TITLES))
    entry = found["grpo_sg"]["with_guidance"]["valid_seen"]
    assert entry["final"]["mean"]["value"] == pytest.approx(29 / GAMES)
    assert entry["final"]["per_seed"] == {"0": 28 / GAMES, "1": 29 / GAMES, "2": 30 / GAMES}
    assert entry["gain"]["value"] == pytest.approx(13 / GAMES)
    assert entry["gain"]["verdict"] == BETTER
    assert set(entry["final"]["task_types"]) == {"clean", "heat", "put"}
    assert set(found["base"]["without_guidance"]["valid_unseen"]) == {"base"}


def test_pairs_are_paired_by_seed_and_game():
    found = pairs(group_runs(records({"grpo": 16, "grpo_sg": 30, "grpo_sg_gr": 31}), TITLES))
    rows = {(row["left"], row["right"], row["split"]): row for row in found["rows"]}
    assert found["looked_at"] == len(rows) == 6
    row = rows["grpo_sg", "grpo", "valid_seen"]
    assert (row["left_mean"], row["right_mean"]) == (pytest.approx(31 / GAMES), pytest.approx(17 / GAMES))
    assert row["value"] == pytest.approx(14 / GAMES)
    assert (row["verdict"], row["survives"]) == (BETTER, True)
    assert row["p_value"] <= row["p_holm"] <= 6 * row["p_value"]
    assert row["probability_of_improvement"]["value"] == 1.0
    # Paired, one game more is one game more with every seed: certain, but of too few games to be believed.
    assert rows["grpo_sg_gr", "grpo_sg", "valid_seen"]["verdict"] == NOISE


def test_pairs_compare_only_common_seeds():
    study = group_runs([record("grpo", 0, 16, guided=False), *records({"grpo_sg": 30})], TITLES)
    assert {row["seeds"] for row in pairs(study)["rows"]} == {1}
    apart = group_runs([record("grpo", 7, 16, guided=False), *records({"grpo_sg": 30})], TITLES)
    assert pairs(apart) == {"looked_at": 0, "rows": []}


def test_pairs_compare_each_method_in_the_mode_that_it_trains():
    plain = [
        record("grpo", seed, 40, guided=False, final=record("x", seed, 40).final | {
            "without_guidance": record("x", seed, 10).final["with_guidance"]})
        for seed in range(3)
    ]  # fmt: skip
    rows = pairs(group_runs([*plain, *records({"grpo_sg": 30})], TITLES))["rows"]
    assert rows[0]["right_mean"] == pytest.approx(10 / GAMES)


def test_guidance_at_inference_counts_the_base_once():
    runs = [*records({"grpo_sg": 30, "grpo_sg_gr": 31}), record("grpo_sg", 9, 30)]
    rows = guidance_at_inference(group_runs(runs, TITLES))
    base = [row for row in rows if row["part"] == "base"]
    assert [(row["method"], row["seeds"]) for row in base] == [("base", 4), ("base", 4)]
    assert {row["value"] for row in rows} == {0.0}
    assert [row["method"] for row in rows if row["part"] == "final"] == ["grpo_sg"] * 2 + ["grpo_sg_gr"] * 2
