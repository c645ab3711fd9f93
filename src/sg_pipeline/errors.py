"""Errors that a user can act on.

Every message is one sentence: what is wrong, where, what was found, what would be right.
The command line prints it without a traceback and exits with 1 (see `cli/`).
"""

from collections.abc import Iterator

GO_ON = "run the same command with --only-missing-outputs to continue"


class SgPipelineError(Exception):
    """Base of every error that is shown to the user."""


class ConfigurationError(SgPipelineError):
    """A parameter is unknown, has an impossible value, or contradicts another."""


class DataError(SgPipelineError):
    """A game, panel, trajectory file or other input is missing, truncated or not what it claims to be."""


class CheckpointError(SgPipelineError):
    """A policy checkpoint is missing, incomplete or not loadable."""


class EnvironmentFailure(SgPipelineError):
    """An environment (or its worker process) failed more often than allowed."""


class RunIdentityError(SgPipelineError):
    """Outputs of another configuration exist under this run's name."""


class RunFailedError(SgPipelineError):
    """A run started by another one ended with an error."""


class RunKilledError(RunFailedError):
    """A run that another one has started was killed; it can be resumed."""


class SamplingError(SgPipelineError):
    """A sampling engine cannot be started or reached, or does not hold the policy's weights."""


class RankError(SgPipelineError):
    """The processes that share a run are not those requested, or have lost contact."""


def chain_of(error: BaseException) -> Iterator[BaseException]:
    """Yield the error, its cause, the cause of that, ..."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
