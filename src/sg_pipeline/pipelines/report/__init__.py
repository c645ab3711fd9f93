"""The report: summary.json, learning curve, report.md."""

from sg_pipeline.pipelines.report.pipeline import create_pipeline

__all__ = ["create_pipeline"]
