import json
import math

import pytest
from reported_run import evaluation, metrics, summary

from sg_pipeline.evaluation.intervals import wilson
from sg_pipeline.reporting.run_tables import identity


def test_summary_has_the_documented_keys():
    found = summary()
    assert {"fingerprint", "environment", "panel", "panel_sha256"} <= set(found)
    assert (found["run"], found["steps"], found["quarantined"], found["wall_seconds"]) == ("demo", 8, 1, 125.0)
    assert found["lambda"] == [0.0, 0.0, 0.25, 0.25, 0.5, 0.5, 0.125, 0.125]
    for part, wins in (("base", 10), ("final", 24)):
        for split in ("valid_seen", "valid_unseen"):
            score = found[part][split]
            assert (score["success_rate"], score["episodes"]) == (wins / 40, 40)
            assert score["ci95"] == pytest.approx(list(wilson(wins, 40)))


def test_summary_top_level_is_the_trained_mode():
    assert summary()["final"]["without_guidance"]["valid_seen"]["success_rate"] == 13 / 40
    plain = summary(guidance=False)
    assert plain["mode"] == "without_guidance"
    assert plain["final"]["valid_seen"]["success_rate"] == 13 / 40
    assert plain["final"]["with_guidance"]["valid_seen"]["success_rate"] == 24 / 40


def test_summary_difference_is_paired():
    again = [json.loads(json.dumps(evaluation(*wins))) for wins in ((10, 12), (24, 13))]
    assert summary(base=again[0], final=again[1]) == summary(), "read from JSON it is the same"
    change = summary()["difference"]
    assert change["valid_seen"]["difference"] == pytest.approx(14 / 40)
    assert (change["valid_seen"]["better"], change["valid_seen"]["worse"]) == (14, 0)
    assert change["valid_seen"]["outside_noise"] is True
    assert change["valid_seen"]["intervals_apart"] is (wilson(10, 40)[1] < wilson(24, 40)[0])
    assert change["without_guidance"]["valid_seen"]["outside_noise"] is False


def test_summary_curves_and_seconds_by_hand():
    found = summary(metrics=list(reversed(metrics())))
    assert found["curve"]["step"] == list(range(8))
    assert found["curve"]["training.entropy"] == [0.5] * 8
    assert found["curve"]["r_sg_gap"] == [None] + [0.375] * 7
    assert found["seconds"] == {"environment": 8.0, "sampling": 16.0, "training": 4.0, "total": 32.0}


def test_summary_lists_each_machine_once():
    steps = metrics()
    for number, step in enumerate(steps):
        step["machine"] = "CPU with AVX2, threads: 1" if number < 3 else "CPU with AVX512, threads: 1"
    found = summary(metrics=steps)
    assert found["machines"] == ["CPU with AVX2, threads: 1", "CPU with AVX512, threads: 1"]
    assert "machine" not in found["curve"]
    assert f"computed on {'; '.join(found['machines'])}" in identity(found)
    assert summary()["machines"] == []


def test_summary_non_finite_numbers_become_none():
    steps = metrics()
    steps[2]["training"] = None
    steps[3]["training"]["kl"] = math.nan
    steps[4]["seconds"]["total"] = None
    steps[5]["quarantined"] = None
    found = summary(metrics=steps)
    assert "per_game" not in json.dumps(found, allow_nan=False)
    assert found["curve"]["training.kl"][2:4] == [None, None]
    assert found["seconds"]["total"] == 28.0


def test_summary_one_mode_one_split_no_steps():
    only = {"with_guidance": {"valid_seen": evaluation(10, 12)["with_guidance"]["valid_seen"]}}
    found = summary(base=only, final=only, metrics=[])
    assert list(found["base"]) == ["valid_seen"]
    assert found["difference"]["valid_seen"]["difference"] == 0.0
    assert (found["steps"], found["lambda"], found["curve"]) == (0, [], {})
