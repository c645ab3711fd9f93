"""Plan: memory, time and disk of a run, before it is started."""

from sg_pipeline.pipelines.plan.pipeline import create_pipeline

__all__ = ["create_pipeline"]
