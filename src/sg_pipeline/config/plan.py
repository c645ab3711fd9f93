"""How a run is planned, as a user sets it."""

from pydantic import BaseModel, ConfigDict, Field


class PlanConfig(BaseModel):
    """Parameters of `kedro run --pipeline=plan`, next to those of the run that it plans.

    Attributes:
        trial: run the first steps of the run to measure them; false: only the memory formula, and what the run itself
            has recorded.
        trial_steps: number of steps of a trial. The first includes the start of libraries; the mean of the others
            stands for all later steps of the run.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    trial: bool
    trial_steps: int = Field(ge=1)
