"""What a tracker gets, read back from what it has written; and what one that fails does to a run: nothing."""

import logging
from pathlib import Path

import pytest
from reported_run import evaluation, metrics

from sg_pipeline.config.tracking import TrackingConfig
from sg_pipeline.reporting import tracking
from sg_pipeline.reporting.tracking import Trackers, evaluation_values, step_values

PARAMETERS = {"base_model.device": "cpu", "run.seed": 3, "rollout.guide": None}


def trackers(folder: Path, *names: str, resumes: bool = True) -> Trackers:
    (folder / "08_reporting" / "study" / "one").mkdir(parents=True, exist_ok=True)
    return Trackers(TrackingConfig(to=names, project="tests"), "study/one", folder, PARAMETERS, resumes=resumes)


def send(folder: Path, name: str) -> None:
    """Send a whole run; then, made again, four of its steps; then, resumed, the last of these once more and two."""
    for steps, resumes in ((metrics(8), False), (metrics(8)[:4], False), (metrics(8)[3:6], True)):
        there = trackers(folder, name, resumes=resumes)
        for step in steps:
            there.log(step_values(step), step["step"])
        there.log(evaluation_values(evaluation(10, 12)), 8)
        there.finish()


def test_a_step_has_the_names_of_trl_and_numbers_alone():
    (first, *_), (*_, last) = metrics(8), metrics(8)
    values = step_values(last)
    assert (values["trust/lambda"], values["loss"], values["seconds/total"]) == (0.125, 0.0, 4.0)
    assert values["guidance/r_sg_gap"] == 0.375
    assert "guidance/r_sg_gap" not in step_values(first)  # None: no episode was won, or none lost
    assert all(type(value) is float for value in values.values())


def test_an_evaluation_is_named_by_mode_and_split():
    values = evaluation_values(evaluation(10, 12))
    assert values["eval/with_guidance/valid_seen/success_rate"] == 0.25
    assert values["eval/without_guidance/valid_unseen/success_rate"] == 0.3


def test_tensorboard_has_curves_parameters_and_the_learning_curve(tmp_path):
    from io import BytesIO

    from PIL import Image
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    send(tmp_path, "tensorboard")
    png = BytesIO()
    Image.new("RGB", (8, 4)).save(png, "PNG")
    there = trackers(tmp_path, "tensorboard")
    there.picture("learning_curve", png.getvalue(), 8)
    there.finish()
    read = EventAccumulator(str(tmp_path / "08_reporting/study/one/tensorboard"))
    read.Reload()
    success = {scalar.step: scalar.value for scalar in read.Scalars("episodes/success")}
    assert success == {step: pytest.approx(0.25 + step / 32) for step in range(6)}
    assert read.Images("learning_curve")[0].width == 8
    (table,) = read.Tensors("parameters/text_summary")[0].tensor_proto.string_val
    assert b"| run.seed | 3 |" in table


def test_mlflow_resumes_the_latest_run(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    send(tmp_path, "mlflow")
    run, first = mlflow.search_runs(experiment_names=["tests"], output_format="list")
    assert first.data.metrics["episodes/success"] == pytest.approx(0.25 + 7 / 32)
    assert run.info.run_name == "study/one"
    assert run.data.params["run.seed"] == "3"
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "episodes/success")
    assert {point.step: point.value for point in history} == {s: pytest.approx(0.25 + s / 32) for s in range(6)}


def test_wandb_writes_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    send(tmp_path, "wandb")
    written = list((tmp_path / "08_reporting/study/one/wandb").glob("offline-run-*/run-*.wandb"))
    assert len(written) == 3
    assert len({path.name for path in written}) == 2, "the third start resumes the second run"
    assert b"episodes/success" in written[0].read_bytes()


def test_trackio_writes_locally(tmp_path, monkeypatch):
    pytest.importorskip("trackio")
    from trackio.sqlite_storage import SQLiteStorage

    monkeypatch.setattr("trackio.sqlite_storage.TRACKIO_DIR", tmp_path / "trackio")
    send(tmp_path, "trackio")
    first, run = sorted(SQLiteStorage.get_runs("tests"), key=len)
    assert first == "study/one"
    logs = SQLiteStorage.get_logs("tests", run)
    success = {log["step"]: log["episodes/success"] for log in logs if "episodes/success" in log}
    assert success == {step: pytest.approx(0.25 + step / 32) for step in range(6)}


def test_a_tracker_that_is_missing_or_fails_is_reported_once_and_dropped(tmp_path, monkeypatch, caplog):
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, TensorBoardTracker

    class Missing(TensorBoardTracker):
        def start(self):
            raise ModuleNotFoundError("No module named 'wandb'")

    class Full(TensorBoardTracker):
        sent = 0

        def log(self, values, step=None, **kwargs):
            Full.sent += 1
            raise OSError("no space left on device")

    monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, "wandb", Missing)
    monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, "tensorboard", Full)
    monkeypatch.setattr(Trackers, "_arguments", lambda *_: {"run_name": "one", "logging_dir": tmp_path})
    with caplog.at_level(logging.WARNING, logger=tracking.__name__):
        there = trackers(tmp_path, "wandb", "tensorboard")
        for step in range(3):
            there.log({"loss": 1.0}, step)
        there.finish()
    assert [record.getMessage() for record in caplog.records] == [
        "tracker wandb is not installed (pip install wandb); the run continues without it",
        "tracker tensorboard failed (OSError: no space left on device); the run continues without it",
    ]
    assert Full.sent == 1
