"""Success of every policy that a run saves, on the validation panel."""

from sg_pipeline.pipelines.validation.pipeline import create_pipeline, validation_node, validation_panel_node

__all__ = ["create_pipeline", "validation_node", "validation_panel_node"]
