"""`kedro run` with this project's manners: a user's mistake is one sentence and exit code 1, never a traceback."""

import os
from pathlib import Path
from typing import IO, Any

import click
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.cli.utils import CONTEXT_SETTINGS
from kedro.utils import find_kedro_project

from sg_pipeline.cli.explain import explain
from sg_pipeline.distributed.failures import has_told, leave_together
from sg_pipeline.errors import GO_ON


@click.group(context_settings=CONTEXT_SETTINGS, name="sg_pipeline")
def cli() -> None:
    """Commands of this project; they take the place of Kedro's own of the same name."""


class _Command(click.Command):
    """A command that answers to a wrong option as to any other mistake: one sentence, exit code 1."""

    def make_context(self, *arguments: Any, **named: Any) -> click.Context:
        try:
            return super().make_context(*arguments, **named)
        except click.exceptions.Exit:  # of --help
            raise
        except click.ClickException as error:
            message = " ".join(error.format_message().split()).rstrip(".")
        except Exception as error:  # what Kedro's own reading of --params and --config does not catch
            told = " ".join(str(error).split())
            where = "a value of --params" if "<unicode string>" in told else "the file of --config, which needs `run:`,"
            message = f"{where} cannot be read ({type(error).__name__}: {told})"
        raise click.ClickException(f"{message}; `kedro run --help` lists what there is") from None


class _Sentence(click.ClickException):
    """A sentence that the processes which share the run may be waiting for."""

    def show(self, file: IO[Any] | None = None) -> None:
        super().show(file)
        has_told()


def _run(**arguments: Any) -> Any:
    # Kedro announces that --pipeline will be --pipelines one day; to the user of today it is the documented option.
    if arguments.get("pipeline"):
        arguments["pipelines"] = [arguments["pipeline"], *(arguments.get("pipelines") or [])]
        arguments["pipeline"] = None
    pipelines = arguments.get("pipelines")
    if pipelines in (["study"], ["sweep"], ["plan"]):
        # Their runs know themselves what is missing of them; what is made of all of them is made anew in any case,
        # since Kedro would take one of fewer runs for done, and a plan of other parameters for this one's.
        arguments["only_missing_outputs"] = False
    allowed = ("SequentialRunner", "ThreadRunner") if pipelines == ["study"] else ("SequentialRunner",)
    if arguments.get("runner") not in (None, *allowed):
        raise click.ClickException(
            f"--runner is {arguments['runner']!r}, but the nodes of a run share one live policy and one pool of "
            f"environments: only the SequentialRunner can run them (environment.pool.workers sets the processes); "
            f"the study, whose runs are processes of their own, can use the ThreadRunner as well"
        )
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


cli.add_command(
    _Command("run", params=kedro_run.params, callback=_run, help=kedro_run.help, short_help=kedro_run.short_help)
)
