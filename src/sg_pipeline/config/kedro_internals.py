"""The one place that uses private attributes of Kedro; `tests/project/test_kedro_internals.py` pins the version."""

from typing import Any


def requested_pipelines() -> list[str] | None:
    """Return the pipelines that the command requests; None: all.

    Kedro passes them only to `find_pipelines`, by `kedro.framework.project.pipelines`.
    The pipelines of this project are built from parameters instead.
    """
    from kedro.framework.project import pipelines

    return pipelines._requested_pipelines


def render_failure(failure: Any) -> str:
    """Return Kedro's description of a failure of its dataset validation."""
    from kedro.validation.exceptions import DataValidationError

    return str(DataValidationError._render_failure(failure))
