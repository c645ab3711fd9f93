"""Tasks: the frozen panel, its games on the disk and compiled."""

from sg_pipeline.pipelines.tasks.pipeline import create_pipeline

__all__ = ["create_pipeline"]
