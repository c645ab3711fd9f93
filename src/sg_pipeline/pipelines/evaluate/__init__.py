"""Evaluation of the base and the final policy on frozen panels."""

from sg_pipeline.pipelines.evaluate.pipeline import create_pipeline

__all__ = ["create_pipeline"]
