"""Whether and where a policy is published, as a user sets it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class PublishConfig(BaseModel):
    """What `kedro run --pipeline=publish` uploads. Nothing leaves this machine unless `push_to_hub` is true.

    Attributes:
        push_to_hub: must be true for the pipeline to do anything.
        repo_id: "owner/name" on the Hugging Face Hub; made where it does not exist.
        private: of a repository that is made.
        policy: the final one, or the best by `checkpoints.best`.
        optimizer: upload AdamW's memory as well, twice the size of the weights.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    push_to_hub: bool = False
    repo_id: str | None = Field(None, pattern=r"^[\w.-]+/[\w.-]+$")
    private: bool = True
    policy: Literal["final", "best"] = "final"
    optimizer: bool = False
