"""Commands of this project. Kedro looks for `cli` here."""

from sg_pipeline.cli.main import cli

__all__ = ["cli"]
