"""What we read of Kedro's private parts: to be looked at again for each new version."""

import kedro
from kedro.framework.project import pipelines

from sg_pipeline.config.kedro_internals import requested_pipelines


def test_kedro_has_the_version_whose_internals_are_read():
    assert kedro.__version__.startswith("1.7."), "check config/kedro_internals.py against this version of Kedro"


def test_requested_pipelines_returns_what_the_command_asked_for():
    pipelines.set_requested(["tasks"])
    try:
        assert requested_pipelines() == ["tasks"]
    finally:
        pipelines.set_requested(None)
    assert requested_pipelines() is None
