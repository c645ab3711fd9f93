"""Success on the validation panel of every policy that a run writes down."""

from sg_pipeline.pipelines.validation.pipeline import create_pipeline

__all__ = ["create_pipeline"]
