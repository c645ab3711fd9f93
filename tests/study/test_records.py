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


COMMAND = "kedro run --pipeline=coevolve --params run.method=grpo_sg_gr,run.seed=0,run.name=demo"


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("summary.json", None, f"summary.json does not exist, .*{COMMAND}"),
        ("steps/step_002.json", None, f"step_002.json does not exist, .*{COMMAND}"),
        ("evaluation_final.json", "{ half", f"is not a readable JSON file .*{COMMAND} --only-missing-outputs"),
        ("evaluation_final.json", "[]", "evaluation_final.json has no field 'with_guidance'"),
        ("run.json", '{"parameters": {"run.seed": 4}}', "has run.seed = 4, but the study takes demo for seed 0"),
    ],
)
def test_read_record_of_an_unfinished_or_foreign_run_raises(tmp_path, file, content, message):
    write_run(tmp_path, "demo")
    path = tmp_path / "08_reporting/demo" / file
    path.unlink()
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_record(tmp_path, "grpo_sg_gr", 0, "demo")


def test_check_comparable_names_the_difference():
    one = record("grpo", 0, 20)
    check_comparable([one, record("grpo", 1, 20), record("grpo_sg", 0, 20)])
    one = record("grpo", 0, 20, inputs={"base_model.path": "a"})
    for other, message in (
        (record("grpo", 0, 20, name="again"), "runs grpo-0 and again are both method grpo with seed 0"),
        (record("grpo_sg", 0, 20, panel_sha256="0"), "grpo-0 and grpo_sg-0 cannot be compared: the panel's sha256 is"),
        (record("grpo_sg", 0, 20, parameters={"evaluate.temperature": 0.4}), "is 1.0 in the one and 0.4 in the other"),
        (record("grpo_sg", 0, 20, inputs={"base_model.path": "b"}), "content of base_model.path is 'a' in the one"),
    ):
        with pytest.raises(DataError, match=message):
            check_comparable([one, other])


def test_count_weights_reads_the_header(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"a": np.zeros((3, 4)), "b": np.zeros(5)}, path)
    assert count_weights(path) == 17
    path.write_bytes(b"short")
    assert count_weights(path) is None
    assert count_weights(tmp_path / "none") is None
