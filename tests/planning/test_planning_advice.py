"""What would make a run fit, and how it is told."""

import json
import re
from dataclasses import replace

import pytest
from planned import cpu_case, paper_case, published, small_config

from sg_pipeline.config.loader import section
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.planning.advice import ways_to_fit
from sg_pipeline.planning.case import check_case
from sg_pipeline.planning.config import DevicesConfig, PlanConfig
from sg_pipeline.planning.disk import disk, kept
from sg_pipeline.planning.document import clock, log_table, plan_markdown, verdict
from sg_pipeline.planning.lengths import Recorded
from sg_pipeline.planning.memory import ALLOCATOR, GIB, PROCESS, WORKERS, memory
from sg_pipeline.planning.plan import build_plan
from sg_pipeline.planning.seconds import step_time
from sg_pipeline.planning.shape import shape_of


@pytest.fixture(scope="module")
def paper():
    return paper_case(published("Qwen3-1.7B"))


def test_every_way_fits_and_none_holds_more_than_it_needs(paper):
    ways = ways_to_fit(paper)
    assert ways
    assert ways[0].here
    for way in ways:
        assert memory(paper.changed(way.values)).fits
        for change in way.changes:
            rest = {n: v for other in way.changes if other is not change for n, v in other.values.items()}
            assert not memory(paper.changed(rest)).fits


def test_the_mildest_form_of_a_change_is_told(paper):
    lower = next(way for way in ways_to_fit(paper) if "rollout.tasks_per_step" in way.values)
    tasks = lower.values["rollout.tasks_per_step"]
    milder = {**lower.values, "rollout.tasks_per_step": 2 * tasks, "train.minibatch": 16 * tasks}
    assert not memory(paper.changed(milder)).fits
    assert lower.values["train.minibatch"] == 8 * tasks  # a minibatch is no more than a step


def test_a_small_model_on_a_small_gpu_is_told_of_the_micro_batch():
    case = paper_case(published("Qwen3-0.6B"), kind="rtx4090", memory_gib=24.0).changed(
        {"rollout.tasks_per_step": 1, "train.minibatch": 8, "evaluate.batch_rows": 8, "train.micro_batch_tokens": 65536}
    )
    held = memory(case)
    assert (held.fits, held.moment) == (False, "training")
    assert any("train.micro_batch_tokens" in way.values for way in ways_to_fit(case))


def test_what_nothing_helps_is_said(paper):
    hopeless = paper.changed({"plan.devices.memory_gib": 2.0})
    assert ways_to_fit(hopeless) == []
    plan = build_plan(hopeless, "hopeless")
    assert "Nothing that was tried makes it fit." in plan_markdown(plan)


def test_the_plan_is_json_and_says_the_same_in_words(paper):
    plan = json.loads(json.dumps(build_plan(paper, "paper"), allow_nan=False))
    told = verdict(plan)
    assert told.startswith("does not fit: ")
    assert "of 139.8 GiB per GPU; at its peak (sampling) the largest part is key-value cache" in told
    log, page = log_table(plan), plan_markdown(plan)
    for text in (log, page):
        assert "base_model.dtype=bfloat16" in text
        assert "66.9 of the 989.4 TFLOP/s" in text
        assert "rollout.max_length" in text
        assert "assumed (plan.lengths)" in text
    assert "not in this version" not in "".join(plan["notes"])
    for moment, parts in plan["memory"]["gib"].items():
        assert sum(parts.values()) <= plan["memory"]["peak_gib"] * (1 + 1e-9), moment
    assert plan["step"]["total"] == pytest.approx(sum(plan["step"]["seconds"].values()))


def test_waves_make_it_fit_without_another_result(paper):
    way = next(way for way in ways_to_fit(paper) if set(way.values) == {"rollout.rows"})
    rows = way.values["rollout.rows"]
    assert not memory(paper.changed({"rollout.rows": 2 * rows})).fits
    waves = paper.changed({"rollout.rows": rows})
    assert step_time(waves).parts["sampling"] > step_time(paper).parts["sampling"]
    assert step_time(waves).parts["training"] == step_time(paper).parts["training"]
    bounded = memory(paper.changed({"rollout.cache_gib": 60.0})).moments["sampling"]
    assert bounded["key-value cache"] < 60 * 2**30
    assert paper.changed({"rollout.cache_gib": 60.0}).at_once(128) == 16  # 3.5 GiB each


def test_what_is_kept_of_checkpoints_is_what_the_disk_holds(paper):
    assert len(kept(paper)) == 9
    few = replace(
        paper, checkpoints=section("checkpoints", keep_last=1, best="train_success", keep_cross_checkpoint=False)
    )
    assert kept(few) == [0, 50, 60, 70, 80]
    assert disk(few)["checkpoints"] < disk(paper)["checkpoints"]


def test_settings_of_the_run_are_told_by_their_names(paper):
    plan = build_plan(paper, "ways")
    told = {name for way in plan["ways"] for name in way["values"]}
    assert told
    assert not told & {"plan.engine", "plan.lora_rank", "plan.compute"}
    plan = build_plan(paper.changed({"plan.engine": "vllm", "plan.lora_rank": 8}), "adapters")
    assert plan["devices"]["engine"] == "vllm"
    assert plan["model"]["trained"] < plan["model"]["parameters"] / 100


def recorded(case, **memory):
    seconds = {"sampling": 2.0, "environment": 0.5, "format": 0.25, "training": 4.0, "total": 6.75}
    return Recorded("mine", 3, seconds, case.lengths, memory)


def test_a_prediction_stands_beside_what_was_measured():
    shape = shape_of(small_config(), "small", "test")
    case = cpu_case(shape, 100, 50, rows=4, micro_batch_tokens=400)
    plan = build_plan(case, "little", recorded(case, sampling=0.5, training=1.0))
    compared = plan["comparison"]
    assert compared["seconds"]["training"] == {"predicted": step_time(case).parts["training"], "measured": 4.0}
    assert compared["seconds"]["environments"]["measured"] == 0.75
    assert compared["seconds"]["sync"]["measured"] is None  # steps of an earlier version
    held = memory(case).moments["training"]
    assert compared["gib"]["training"] == {"predicted": (sum(held.values()) - held[WORKERS]) / GIB, "measured": 1.0}
    assert compared["gib"]["environments"]["measured"] is None
    ratio = f"{compared['gib']['training']['predicted']:.2f}"  # of one GiB
    for text in (log_table(plan), plan_markdown(plan)):
        assert text.count("predicted") == 2
        assert re.search(rf"training[ |]+{ratio}[ |]+1\.00[ |]+{ratio}", text)
    assert "predicted" not in log_table(build_plan(case, "little"))


def test_on_a_gpu_tensors_and_what_the_allocator_holds_are_compared(paper):
    compared = build_plan(paper, "gpu", recorded(paper, training=60.0, training_reserved=66.0))["comparison"]["gib"]
    parts = memory(paper).moments["training"]
    tensors = sum(parts.values()) - parts[ALLOCATOR] - parts[PROCESS]
    assert compared["training"] == {"predicted": pytest.approx(tensors / GIB), "measured": 60.0}
    assert compared["training_reserved"]["predicted"] == pytest.approx((tensors + parts[ALLOCATOR]) / GIB)
    assert "environments" not in compared


def test_a_laptop_is_told_of_its_process():
    shape = shape_of(small_config(), "small", "test")
    plan = build_plan(cpu_case(shape, 100, 50, rows=4, micro_batch_tokens=400), "little")
    assert verdict(plan).startswith("fits: ")
    assert "per process" in verdict(plan)
    assert plan["ways"] == plan["notes"] == []


def test_devices_that_the_run_would_not_use_are_refused(paper):
    with pytest.raises(ConfigurationError, match=r"plan.devices.kind is 'cpu', but base_model.device is 'cuda'"):
        check_case(paper.changed({"plan.devices.kind": "cpu"}))
    with pytest.raises(ConfigurationError, match=r"base_model.device is 'cpu'.*set base_model.device to 'cuda'"):
        check_case(paper.changed({"base_model.device": "cpu"}))
    with pytest.raises(ValueError, match="parallel is 'none', which uses one"):
        PlanConfig(devices=DevicesConfig(count=2), lengths=paper.plan.lengths, efficiency=paper.plan.efficiency)


def test_own_figures_take_the_place_of_the_tables():
    own = DevicesConfig(kind="h100", memory_gib=94.0, bandwidth_gb_s=3900).device()
    assert (own.memory_gib, own.bandwidth, own.bfloat16) == (94.0, 3900, 989.4)
    assert own.peak("bfloat16") == pytest.approx(989.4e12)
    assert own.peak("float32") == pytest.approx(66.9e12)


@pytest.mark.parametrize(
    ("seconds", "told"), [(9.87, "9.9 s"), (90, "1.5 min"), (3725, "1.0 h"), (47 * 3600, "47.0 h"), (4e5, "4.6 days")]
)
def test_clock(seconds, told):
    assert clock(seconds) == told
