"""Upload of a policy to the Hugging Face Hub: off unless `publish.push_to_hub` is true."""

from sg_pipeline.pipelines.publish.pipeline import create_pipeline

__all__ = ["create_pipeline"]
