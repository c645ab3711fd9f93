"""Private attributes of Kedro that are used here; to be checked for each new version."""

import kedro
from kedro.framework.project import pipelines

from sg_pipeline.config.kedro_internals import requested_pipelines


def test_kedro_version_is_the_one_whose_internals_are_used():
    assert kedro.__version__.startswith("1.7."), "check config/kedro_internals.py against this version of Kedro"


def test_requested_pipelines_returns_those_of_the_command():
    pipelines.set_requested(["tasks"])
    try:
        assert requested_pipelines() == ["tasks"]
    finally:
        pipelines.set_requested(None)
    assert requested_pipelines() is None
