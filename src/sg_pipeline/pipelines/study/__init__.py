"""The study: every method with every seed, each a separate run, then compared."""

from sg_pipeline.pipelines.study.pipeline import create_pipeline

__all__ = ["create_pipeline"]
