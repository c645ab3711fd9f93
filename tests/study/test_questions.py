import pytest
from study_runs import TITLES, record, records, step_metrics

from sg_pipeline.study.document import caution
from sg_pipeline.study.results import compare_runs

TRAINING = "Does guidance help training?"
HACKED = "Is the internal reward hacked?"


def answers(runs, titles=TITLES) -> dict[str, dict]:
    return {answer["question"]: answer for answer in compare_runs(runs, titles)["questions"]}


@pytest.mark.parametrize(
    ("grpo", "grpo_sg", "verdict"), [(16, 34, "better"), (34, 16, "worse"), (30, 30, "within the noise")]
)
def test_answer_follows_the_numbers(grpo, grpo_sg, verdict):
    found = answers(records({"grpo": grpo, "grpo_sg": grpo_sg}), {"grpo": "GRPO", "grpo_sg": "GRPO w/ SG"})[TRAINING]
    assert found["answer"] == f"{verdict} in 2 of 2"
    assert [row["verdict"] for row in found["rows"]] == [verdict] * 2
    seen = found["rows"][0]
    assert (seen["comparison"], seen["split"]) == ("GRPO w/ SG against GRPO", "valid_seen")
    assert seen["numbers"].startswith(f"{100 * (grpo_sg + 1) / 48:.1f} % against {100 * (grpo + 1) / 48:.1f} %: ")


def test_answer_names_what_was_not_run_and_counts_mixed_verdicts():
    found = answers(records({"grpo_sg": 30, "grpo_sg_gr": 31}))
    assert found[TRAINING]["answer"] == "not run"
    assert [row["verdict"] for row in found[TRAINING]["rows"]] == ["GRPO not run"]
    assert found["Does the internal reward add to that?"]["answer"] == "within the noise in 2 of 2"
    assert "Is guidance distilled from a stronger policy better than one's own?" not in found  # of methods it has not
    assert found["Does a policy solve more with the guidance of a later checkpoint?"]["answer"] == "not run"
    titles = {**TITLES, "entry_15": "entry at 15", "no_annealing": "no annealing"}
    found = answers(records({"grpo_sg_gr": 34, "immediate": 16, "no_annealing": 34}), titles)
    assert found["Is the full schedule better than the others?"]["answer"] == (
        "better in 2, within the noise in 2 of 4 (some comparisons were not run)"
    )


def test_caution_counts_the_comparisons_and_names_a_single_seed():
    alone = compare_runs(records({"grpo": 16, "grpo_sg": 34}, seeds=1), TITLES)
    training = next(answer for answer in alone["questions"] if answer["question"] == TRAINING)
    assert training["rows"][0]["numbers"].endswith("1 seed: games only")
    assert "One seed" in caution(alone)
    found = compare_runs(records({"grpo": 16, "grpo_sg": 34, "grpo_sg_gr": 34}), TITLES)
    assert caution(found).startswith(
        "Comparisons of methods: 6 (0.3 would leave the noise by chance), outside the noise: 4, also after Holm's "
        "correction: 4;"
    )
    assert caution(compare_runs(records({"grpo": 16}), TITLES)).startswith("No two methods")


def test_hacking_is_read_from_the_dials_of_the_last_phase():
    runs = records({"grpo_sg": 30, "grpo_sg_gr": 31})
    fair = answers(runs)[HACKED]
    assert fair["answer"] == "signs in 0 of 1"
    assert "R_sg gap 0.50 (0.50)" in fair["rows"][0]["numbers"]
    flattered = step_metrics(negative_share=0.0, r_sg_gap=-0.1, corr_r_sg_turns=0.9)
    hacked = answers([*runs[:3], *(record("grpo_sg_gr", seed, 31, metrics=flattered) for seed in range(3))])[HACKED]
    assert hacked["answer"] == "signs in 1 of 1: GRPO w/ SG & GR"
    assert hacked["rows"][0]["verdict"] == "signs: negative labels, R_sg gap, corr(R_sg, T)"
    assert answers(records({"grpo": 16}))[HACKED]["answer"] == "not run"
