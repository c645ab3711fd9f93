"""`kedro run` with this project's manners: a user's mistake is one sentence and exit code 1, never a traceback."""

import errno
from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.cli.utils import CONTEXT_SETTINGS

from sg_pipeline.errors import SgPipelineError


@click.group(context_settings=CONTEXT_SETTINGS, name="sg_pipeline")
def cli() -> None:
    """Commands of this project; they take the place of Kedro's own of the same name."""


def explain(error: BaseException) -> str | None:
    """Return the sentence that tells a user what to do about `error`; None where it is a defect of ours.

    Kedro wraps what a dataset or node raises, so the whole chain of causes is searched.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, SgPipelineError):
            return str(seen)
        if isinstance(seen, OSError) and seen.errno in (errno.ENOSPC, errno.EDQUOT):
            return (
                f"no space left on the disk while writing {seen.filename or 'an output'}; free some and run the same "
                f"command with --only-missing-outputs, what is already written is kept"
            )
        if isinstance(seen, PermissionError):
            return f"no permission for {seen.filename}; make it accessible and run again with --only-missing-outputs"
        seen = seen.__cause__ or seen.__context__
    if isinstance(error, ValueError) and "Failed to find the pipeline named" in str(error):
        return " ".join(str(error).split())
    return None


def _run(**arguments: Any) -> Any:
    # Kedro announces that --pipeline will be --pipelines one day; to the user of today it is the documented option.
    if arguments.get("pipeline"):
        arguments["pipelines"] = [arguments["pipeline"], *(arguments.get("pipelines") or [])]
        arguments["pipeline"] = None
    try:
        return kedro_run.callback(**arguments)  # type: ignore[misc]
    except KeyboardInterrupt:
        raise click.ClickException(
            "interrupted; run the same command with --only-missing-outputs to go on where it stopped"
        ) from None
    except Exception as error:
        sentence = explain(error)
        if sentence is None:
            raise
        raise click.ClickException(sentence) from None


cli.add_command(
    click.Command("run", params=kedro_run.params, callback=_run, help=kedro_run.help, short_help=kedro_run.short_help)
)
