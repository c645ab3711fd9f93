"""`kedro run` with clear errors: a user's mistake gives one sentence and exit code 1 instead of a traceback."""

import os
from pathlib import Path
from typing import IO, Any

import click
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.cli.utils import CONTEXT_SETTINGS
from kedro.utils import find_kedro_project

from sg_pipeline.cli.explain import explain
from sg_pipeline.distributed.cores import offer, usable_cores
from sg_pipeline.distributed.failures import leave_together, release_others
from sg_pipeline.errors import GO_ON
from sg_pipeline.runs.child import several_at_once


@click.group(context_settings=CONTEXT_SETTINGS, name="sg_pipeline")
def cli() -> None:
    """Commands of this project; they replace Kedro's commands of the same name."""


class _Command(click.Command):
    """A command that reports a wrong option like any other mistake: one sentence, exit code 1."""

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **named: Any) -> click.Context:
        offer([self.name or "run", *args])
        try:
            return super().make_context(info_name, args, *rest, **named)
        except click.exceptions.Exit:  # of --help
            raise
        except click.ClickException as error:
            message = " ".join(error.format_message().split()).rstrip(".")
        except Exception as error:  # not caught by Kedro when it reads --params and --config
            text = " ".join(str(error).split())
            where = "a value of --params" if "<unicode string>" in text else "the file of --config, which needs `run:`,"
            message = f"{where} cannot be read ({type(error).__name__}: {text})"
        raise click.ClickException(f"{message}; `kedro run --help` lists the options") from None


class _Sentence(click.ClickException):
    """An error message that the other processes of the run may be waiting for."""

    def show(self, file: IO[Any] | None = None) -> None:
        super().show(file)
        release_others()


def _run(**arguments: Any) -> Any:
    # Kedro announces that --pipelines will replace --pipeline, but --pipeline is still the documented option.
    if arguments.get("pipeline"):
        arguments["pipelines"] = [arguments["pipeline"], *(arguments.get("pipelines") or [])]
        arguments["pipeline"] = None
    pipelines = arguments.get("pipelines")
    if pipelines in (["study"], ["sweep"], ["plan"]):
        # Their runs find their missing outputs themselves; outputs of all runs are always made again, because Kedro
        # would take a comparison of fewer runs, or a plan for other parameters, for done.
        arguments["only_missing_outputs"] = False
    allowed = ("SequentialRunner", "ThreadRunner") if pipelines == ["study"] else ("SequentialRunner",)
    if arguments.get("runner") not in (None, *allowed):
        raise click.ClickException(
            f"--runner is {arguments['runner']!r}, but the nodes of a run share one live policy and one pool of "
            f"environments: only the SequentialRunner can run them (environment.pool.workers sets the processes); "
            f"the study, whose runs are separate processes, can also use the ThreadRunner"
        )
    several_at_once(_workers(arguments) if pipelines == ["study"] else 1)
    try:
        return kedro_run.callback(**arguments)  # type: ignore[misc]
    except KeyboardInterrupt:
        again = "run the same command to continue" if pipelines == ["sweep"] else GO_ON
        raise click.ClickException(f"interrupted; {again} where it stopped") from None
    except click.ClickException:
        raise
    except Exception as error:
        conf = Path(arguments.get("conf_source") or (find_kedro_project(Path.cwd()) or Path.cwd()) / "conf")
        sentence = explain(error, conf, arguments.get("env") or os.environ.get("KEDRO_ENV"))
        leave_together(error, sentence)
        if sentence is None:
            raise
        raise _Sentence(sentence) from None


def _workers(arguments: dict[str, Any]) -> int:
    """Return how many nodes run at the same time; for a ThreadRunner without `max_workers`, up to one a core."""
    if arguments.get("runner") != "ThreadRunner":
        return 1
    return int((arguments.get("runner_params") or {}).get("max_workers") or usable_cores())


cli.add_command(
    _Command("run", params=kedro_run.params, callback=_run, help=kedro_run.help, short_help=kedro_run.short_help)
)
