"""One step of co-evolution: roll out -> validate -> aggregate -> train. The reusable piece that `coevolve` unrolls."""

from sg_pipeline.pipelines.step.pipeline import create_pipeline

__all__ = ["create_pipeline"]
