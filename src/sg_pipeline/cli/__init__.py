"""Commands of this project; Kedro imports `cli` from here."""

from sg_pipeline.cli.main import cli

__all__ = ["cli"]
