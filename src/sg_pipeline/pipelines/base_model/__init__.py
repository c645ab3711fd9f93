"""The base policy: shipped, pretrained, or warm-started from scratch."""

from sg_pipeline.pipelines.base_model.pipeline import create_pipeline

__all__ = ["create_pipeline"]
