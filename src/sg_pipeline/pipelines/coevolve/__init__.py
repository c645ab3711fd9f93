"""The co-evolution over its four phases, unrolled step by step."""

from sg_pipeline.pipelines.coevolve.pipeline import create_pipeline

__all__ = ["create_pipeline"]
