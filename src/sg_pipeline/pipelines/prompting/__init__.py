"""Prompting methods without training: ReAct, ReAct with self-guidance, Reflexion, ReflAct."""

from sg_pipeline.pipelines.prompting.pipeline import create_pipeline

__all__ = ["create_pipeline"]
