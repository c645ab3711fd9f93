"""Upload of a policy to the Hugging Face Hub."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class PublishConfig(BaseModel):
    """Parameters of `kedro run --pipeline=publish`. Nothing is uploaded unless `push_to_hub` is true.

    Attributes:
        push_to_hub: must be true for the pipeline to do anything.
        repo_id: "owner/name" on the Hugging Face Hub; created if it does not exist.
        private: whether a created repository is private.
        policy: the final one, or the best by `checkpoints.best`.
        optimizer: upload AdamW's moments as well, twice the size of the weights.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    push_to_hub: bool
    repo_id: str | None = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    private: bool
    policy: Literal["final", "best"]
    optimizer: bool
