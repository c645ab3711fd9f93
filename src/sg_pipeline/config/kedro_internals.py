"""The one place that uses private attributes of Kedro; `tests/project/test_kedro_internals.py` pins the version."""

from typing import Any


def requested_pipelines() -> list[str] | None:
    """Return the pipelines that the command asks for; None: all.

    Kedro tells `find_pipelines` alone, by `kedro.framework.project.pipelines`; ours are made from parameters.
    """
    from kedro.framework.project import pipelines

    return pipelines._requested_pipelines


def render_failure(failure: Any) -> str:
    """Return a failure of Kedro's dataset validation as Kedro itself words it."""
    from kedro.validation.exceptions import DataValidationError

    return str(DataValidationError._render_failure(failure))
