"""One step of co-evolution: roll out -> validate -> aggregate -> train. The reusable piece that `coevolve` unrolls."""

from sg_pipeline.pipelines.step.pipeline import SINGLE, create_pipeline

__all__ = ["SINGLE", "create_pipeline"]
