"""The search for a trust schedule: trials, the best of them run again, and what came out of it."""

from sg_pipeline.pipelines.sweep.pipeline import create_pipeline

__all__ = ["create_pipeline"]
