"""Experiment trackers: TensorBoard, Weights & Biases, MLflow, trackio, by accelerate's interface.

A tracker gets values that are on disk as well. One that is missing or fails is dropped for the rest of the run, after
one warning. Step metrics have the names of TRL's trainers where those have one, so that the curves of both are in one
chart; the others are in groups: `episodes/`, `guidance/`, `trust/`, `seconds/`, `eval/`.
"""

import logging
import os
import re
from collections.abc import Callable, Mapping
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from sg_pipeline.config.tracking import TrackerName, TrackingConfig
from sg_pipeline.files import remove

logger = logging.getLogger(__name__)

NAMES = {
    "r_total": "reward",
    "groups_without_gradient": "frac_reward_zero_std",
    "mean_turns": "episodes/turns",
    "policy_tokens": "episodes/tokens",
    "success_rate": "episodes/success",
    "score": "episodes/score",
    "truncated_share": "episodes/truncated",
    "invalid_action_share": "episodes/invalid_actions",
    "r_env": "episodes/r_env",
    "r_sg": "guidance/r_sg",
    "positive_share": "guidance/positive",
    "neutral_share": "guidance/neutral",
    "negative_share": "guidance/negative",
    "unparsed_guidance_share": "guidance/unparsed",
    "r_sg_gap": "guidance/r_sg_gap",
    "corr_r_sg_turns": "guidance/corr_r_sg_turns",
    "corr_r_sg_won": "guidance/corr_r_sg_won",
    "verdict_concordance": "guidance/verdict_concordance",
    "lambda": "trust/lambda",
    "training.loss": "loss",
    "training.entropy": "entropy",
    "training.kl": "kl",
    "training.grad_norm_mean": "grad_norm",
    "training.learning_rate": "learning_rate",
    "training.clip_share_low": "clip_ratio/low_mean",
    "training.clip_share_high": "clip_ratio/high_mean",
    "training.logp_gap_max": "sampling/sampling_logp_difference/max",
    "training.logp_gap_mean": "sampling/sampling_logp_difference/mean",
}
"""Metric of a step -> its name in a tracker."""

_WANDB_RUN = re.compile(r"run-\d{8}_\d{6}-([^/]+)$")
"""Folder of a run of wandb: its time and id."""

EVALUATED = ("success_rate", "score", "mean_turns", "invalid_action_share")


def step_values(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics of a step as trackers get them; those that have no value are left out."""
    leaves = {**metrics, **{f"training.{name}": value for name, value in metrics.get("training", {}).items()}}
    values = {shown: leaves.get(name) for name, shown in NAMES.items()}
    values |= {f"seconds/{name}": value for name, value in metrics.get("seconds", {}).items()}
    return _numbers(values)


def evaluation_values(scores: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return an evaluation, mode -> split -> scores, as trackers get it."""
    return _numbers(
        {
            f"eval/{mode}/{split}/{name}": score.get(name)
            for mode, splits in scores.items()
            for split, score in splits.items()
            for name in EVALUATED
        }
    )


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items() if isinstance(value, int | float)}


class Trackers:
    """The trackers of a run.

    Args:
        config: which.
        run: the run's name.
        data: the data folder; trackers that write locally do so in the reports of the run, MLflow in `data/mlflow.db`
            unless MLFLOW_TRACKING_URI is set.
        parameters: the run's parameters by dotted name.
        resumes: continue the latest run of this name; False: start another one.
    """

    def __init__(
        self, config: TrackingConfig, run: str, data: Path, parameters: Mapping[str, Any], *, resumes: bool
    ) -> None:
        self._config, self._run, self._data, self._resumes = config, run, data, resumes
        self._parameters = {name: _plain(value) for name, value in parameters.items()}
        self._started: dict[TrackerName, Any] = {}
        for name in config.to:
            self._guard(name, partial(self._start, name))

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Send values of a step."""
        self._each(lambda name, tracker: tracker.log(dict(values), step=step))

    def picture(self, name: str, png: bytes, step: int) -> None:
        """Send a figure."""
        import numpy as np
        from PIL import Image

        image = Image.open(BytesIO(png)).convert("RGB")

        def send(tracker_name: TrackerName, tracker: Any) -> None:
            if tracker_name == "trackio":
                import trackio

                tracker.log({name: trackio.Image(image)}, step=step)
            elif tracker_name == "mlflow":
                import mlflow

                mlflow.log_image(image, f"{name}.png")
            elif tracker_name == "wandb":
                tracker.log_images({name: [image]}, step=step)
            else:
                tracker.log_images({name: np.asarray(image)[None]}, step=step, dataformats="NHWC")

        self._each(send)

    def finish(self) -> None:
        """End all trackers; what is buffered is written."""
        self._each(lambda name, tracker: tracker.finish())
        self._started.clear()

    def _start(self, name: TrackerName) -> None:
        from accelerate.state import PartialState
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        PartialState(cpu=self._parameters["base_model.device"] == "cpu")  # accelerate's log asks for it
        tracker = LOGGER_TYPE_TO_CLASS[name](**self._arguments(name))
        tracker.main_process_only = False  # only rank 0 comes here
        tracker.start()
        if name == "tensorboard":  # its hyperparameters would be a separate run in another folder
            table = "\n".join(f"| {key} | {value} |" for key, value in self._parameters.items())
            tracker.writer.add_text("parameters", f"| parameter | value |\n|---|---|\n{table}")
        elif name != "mlflow" or not tracker.run_id:  # MLflow keeps the parameters of a resumed run
            tracker.store_init_configuration(self._parameters)
        self._started[name] = tracker

    def _arguments(self, name: TrackerName) -> dict[str, Any]:
        reports, project = self._data / "08_reporting" / self._run, self._config.project
        if name == "tensorboard":  # reads all event files of a folder as one run
            if not self._resumes:
                remove(reports / "tensorboard")
            return {"run_name": "tensorboard", "logging_dir": reports}
        if name == "wandb":
            latest = _WANDB_RUN.search(os.path.realpath(reports / "wandb" / "latest-run"))
            known = {"id": latest[1], "resume": "allow"} if latest and self._resumes else {}
            return {"run_name": project, "name": self._run, "dir": reports, **known}
        if name == "trackio":
            return {"run_name": project, "name": self._run, "resume": "allow" if self._resumes else "never"}
        import mlflow

        artifacts = None
        if "MLFLOW_TRACKING_URI" not in os.environ:
            mlflow.set_tracking_uri(f"sqlite:///{(self._data / 'mlflow.db').absolute()}")
            artifacts = (self._data / "mlflow_artifacts").absolute().as_uri()
        own, found = f"attributes.run_name = '{self._run}'", []
        if self._resumes and mlflow.search_experiments(filter_string=f"name = '{project}'"):
            found = mlflow.search_runs(experiment_names=[project], filter_string=own, output_format="list")
        earlier = found[0].info.run_id if found else None  # the latest
        return {"experiment_name": project, "logging_dir": artifacts, "run_name": self._run, "run_id": earlier}

    def _each(self, send: Callable[[TrackerName, Any], None]) -> None:
        for name, tracker in list(self._started.items()):
            self._guard(name, partial(send, name, tracker))

    def _guard(self, name: TrackerName, act: Callable[[], None]) -> None:
        """Act; drop a tracker that fails. No tracker may end a run."""
        try:
            act()
        except Exception as error:
            self._started.pop(name, None)
            missing = isinstance(error, ModuleNotFoundError)
            what = f"is not installed (pip install {name})" if missing else f"failed ({_line(error)})"
            logger.warning("tracker %s %s; the run continues without it", name, what)


def _plain(value: Any) -> bool | int | float | str:
    return value if isinstance(value, bool | int | float | str) else str(value)


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
