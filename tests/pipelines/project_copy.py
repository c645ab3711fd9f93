"""A Kedro project of the tests' own: our conf/, other folders, so that no test touches the data of a user."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import yaml
from click.testing import CliRunner, Result

REPOSITORY = Path(__file__).resolve().parents[2]

TINY = {"hidden_size": 32, "layers": 2, "heads": 2, "head_dim": 16, "intermediate_size": 64}

SMALL: dict[str, Any] = {
    "run.threads": 1,
    "environment.pool.workers": 1,
    "tasks.limit": 4,
    "tasks.compile_workers": 1,
    "coevolve.steps": 4,
    "coevolve.checkpoint_every": 2,
    "rollout.tasks_per_step": 2,
    "rollout.group_size": 4,
    "rollout.max_turns": 3,
    "train.minibatch": 4,
    "train.learning_rate": 1e-3,
    "evaluate.games": 2,
}
"""conf/smoke still smaller: a whole run in about five seconds."""


class ProjectCopy:
    """A folder with our configuration, in which `kedro run` works as in ours."""

    def __init__(self, root: Path, policy: Path | None = None, parts: int = 1) -> None:
        """Lay it out; `policy` is the checkpoint that its runs begin with.

        Where None, a warm start makes one; if it has several `parts`, the last one is validated.
        """
        self.root = root
        # Without logging.yml: it would point the handlers of the tests' process to a stream that is soon closed.
        shutil.copytree(REPOSITORY / "conf", root / "conf", ignore=shutil.ignore_patterns("local", "logging.yml"))
        for name in ("pyproject.toml", ".telemetry"):
            shutil.copy(REPOSITORY / name, root)
        (root / "src").mkdir()
        # Guidance is rewarded from the first step on, whether anything is won or not: every step has a gradient.
        self.configure(
            "aggregate",
            schedule={"kind": "trapezoid", "activation": 0, "full": 0.25},
            credit={"kind": "trajectory"},
        )
        self.configure(
            "base_model",
            path=str(policy),
            tiny=TINY,
            warm_start=[
                {"total_tokens": 80_000, "learning_rate": 1e-2, "noise": [0.3]}
                | ({"parts": parts, "validate_every": parts} if parts > 1 else {})
            ],
        )

    def configure(self, section: str, **values: Any) -> None:
        """Set values of a section in the environment `smoke`."""
        path = self.root / "conf" / "smoke" / f"parameters_{section}.yml"
        path.write_text(yaml.safe_dump({section: values}), encoding="utf-8")

    def arguments(self, pipeline: str, run: str, parameters: dict[str, Any] | None = None, *options: str) -> list[str]:
        """Return what stands behind `kedro` on the command line."""
        given = ",".join(f"{name}={value}" for name, value in {"run.name": run, **SMALL, **(parameters or {})}.items())
        return ["run", "--env=smoke", f"--pipeline={pipeline}", f"--params={given}", *options]

    def kedro(self, *arguments: str, folder: str = ".") -> Result:
        """Run `kedro` in this process; what is a defect of ours is raised."""
        from kedro.framework.project import configure_project

        from sg_pipeline.cli.main import cli

        configure_project("sg_pipeline")
        with contextlib.chdir(self.root / folder):
            return CliRunner().invoke(cli, list(arguments), catch_exceptions=False)

    def run(self, *arguments: Any) -> None:
        """Run a pipeline in this process, to its end; see `arguments`."""
        result = self.kedro(*self.arguments(*arguments))
        assert result.exit_code == 0, result.output

    def refuse(self, *arguments: Any) -> str:
        """Run a pipeline that must end with one sentence and exit code 1; return the sentence."""
        return sentence(self.kedro(*self.arguments(*arguments)))

    @contextlib.contextmanager
    def replaced(self, file: str, content: bytes) -> Iterator[None]:
        """Replace the content of a file, for a while."""
        path = self.root / file
        whole = path.read_bytes()
        path.write_bytes(content)
        yield
        path.write_bytes(whole)

    def copied(self, run: str, name: str) -> str:
        """Copy a finished run under another name, so that its outputs are separate; return the name."""
        for folder in sorted((self.root / "data").glob(f"*/{run}")):
            shutil.copytree(folder, folder.with_name(name), ignore=shutil.ignore_patterns(".lock"))
        return name

    def process(self, *arguments: str, driver: tuple[str, ...] = ("-m", "kedro")) -> subprocess.Popen[str]:
        """Start `kedro` as a separate process."""
        return subprocess.Popen(
            [sys.executable, *driver, *arguments],
            cwd=self.root,
            env={**os.environ, "OMP_NUM_THREADS": "1", "KEDRO_LOGGING_CONFIG": str(REPOSITORY / "conf/logging.yml")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def orphans(self) -> list[psutil.Process]:
        """Return the processes that work in the project's folder and are not children of this very test."""
        own = {process.pid for process in psutil.Process().children(recursive=True)}
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.pid not in own and process.cwd() == str(self.root):
                    found.append(process)
        return found

    def data(self, layer: str, run: str = "") -> Path:
        """Return a run's folder in a layer, named by how it begins: "03"."""
        (folder,) = (self.root / "data").glob(f"{layer}_*")
        return folder / run

    def json(self, layer: str, run: str, name: str) -> Any:
        """Return what a JSON file of a run holds."""
        return json.loads((self.data(layer, run) / name).read_text(encoding="utf-8"))

    def weights(self, run: str, policy: str = "final") -> bytes:
        """Return the file of a policy's weights."""
        return (self.data("06", run) / policy / "model.safetensors").read_bytes()


def written(project: ProjectCopy, run: str, layer: str = "", name: str = "*") -> dict[str, int]:
    """Return the files of a run in a layer (all layers) -> when each was written."""
    data = project.root / "data"
    files = [path for folder in data.glob(f"{layer}*/{run}") for path in folder.rglob(name) if path.is_file()]
    return {str(path.relative_to(data)): path.stat().st_mtime_ns for path in files if path.name != ".lock"}


def wait_for(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Wait until `condition` returns something true, and return that."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError("waited in vain")


def sentence(result: Result) -> str:
    """Return the one sentence that a refused command printed."""
    assert result.exit_code == 1, result.output
    lines = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, result.output
    assert "Traceback" not in result.output
    return lines[0].removeprefix("Error: ")
