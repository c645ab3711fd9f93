import dataclasses

import numpy as np
import pytest
from safetensors.numpy import save_file
from study_runs import TYPES, record, write_run

from sg_pipeline.errors import DataError
from sg_pipeline.study.records import check_comparable, count_weights, read_record


def test_read_record_of_a_finished_run(tmp_path):
    write_run(tmp_path, "demo", seed=3)
    found = read_record(tmp_path, "grpo_sg_gr", 3, "demo")
    assert (found.method, found.seed, found.name, found.mode) == ("grpo_sg_gr", 3, "demo", "with_guidance")
    assert [step["step"] for step in found.metrics] == [0, 1, 2, 3]
    assert found.task_types == TYPES
    assert found.evaluation("base")["with_guidance"]["valid_seen"]["per_game"]["valid_seen-3"] == [1, 1]
    assert (found.wall_seconds, found.inputs, found.policy_weights) == (60.0, {"tasks.panel": "f0"}, None)


@pytest.mark.parametrize(
    "missing", ["summary.json", "run.json", "evaluation_base.json", "evaluation_final.json", "steps/step_002.json"]
)
def test_read_record_missing_file_names_the_file_and_the_command(tmp_path, missing):
    write_run(tmp_path, "demo")
    (tmp_path / "08_reporting/demo" / missing).unlink()
    with pytest.raises(DataError) as error:
        read_record(tmp_path, "grpo_sg_gr", 0, "demo")
    text = str(error.value)
    assert f"08_reporting/demo/{missing} does not exist" in text
    assert "kedro run --pipeline=coevolve --params run.method=grpo_sg_gr,run.seed=0,run.name=demo" in text


def test_read_record_broken_or_foreign_file_raises(tmp_path):
    write_run(tmp_path, "demo")
    path = tmp_path / "08_reporting/demo/evaluation_final.json"
    path.write_text("{ half", encoding="utf-8")
    with pytest.raises(DataError, match=r"evaluation_final.json is not a readable JSON file .*--only-missing-outputs"):
        read_record(tmp_path, "grpo_sg_gr", 0, "demo")
    path.write_text("[]", encoding="utf-8")
    with pytest.raises(DataError, match=r"evaluation_final.json has no field 'with_guidance'"):
        read_record(tmp_path, "grpo_sg_gr", 0, "demo")


def test_read_record_of_another_seed_raises(tmp_path):
    write_run(tmp_path, "demo", seed=4)
    with pytest.raises(DataError, match=r"run.json has run.seed = 4, but the study takes demo for seed 0"):
        read_record(tmp_path, "grpo_sg_gr", 0, "demo")


def test_check_comparable_names_the_difference():
    one = record("grpo", 0, 20)
    check_comparable([one, record("grpo", 1, 20), record("grpo_sg", 0, 20)])
    with pytest.raises(DataError, match="runs grpo-0 and again are both method grpo with seed 0"):
        check_comparable([one, dataclasses.replace(one, name="again")])
    other = dataclasses.replace(record("grpo_sg", 0, 20), panel_sha256="0")
    with pytest.raises(DataError, match=r"runs grpo-0 and grpo_sg-0 cannot be compared: the panel's sha256 is"):
        check_comparable([one, other])
    hot = record("grpo_sg", 0, 20, parameters={"evaluate.temperature": 0.4})
    with pytest.raises(DataError, match=r"evaluate.temperature is 1.0 in the one and 0.4 in the other"):
        check_comparable([one, hot])
    based = [record(m, 0, 20, inputs={"base_model.path": digest}) for m, digest in (("grpo", "a"), ("grpo_sg", "b"))]
    with pytest.raises(DataError, match=r"the content of base_model.path is 'a' in the one"):
        check_comparable(based)


def test_count_weights_reads_the_header(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"a": np.zeros((3, 4)), "b": np.zeros(5)}, path)
    assert count_weights(path) == 17
    path.write_bytes(b"short")
    assert count_weights(path) is None
    assert count_weights(tmp_path / "none") is None
