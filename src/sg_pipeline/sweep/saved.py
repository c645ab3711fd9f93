"""What the trials have made themselves and what they had from others: steps that two schedules have in common."""

import json
from pathlib import Path
from typing import Any

from sg_pipeline.config.run import step_number
from sg_pipeline.runs.shared_steps import read_shared


def work_of(data: Path, run: str, steps: int) -> dict[str, Any]:
    """Count a run's steps.

    What was taken over up to its last checkpoint was neither rolled out nor trained again; behind it, trained again on
    the recorded trajectories. A step's seconds are those that it took where it was made.

    Args:
        data: the data folder.
        run: its name.
        steps: its length.

    Returns:
        `steps` there are, `shared` of them taken over, `retrained` of these; `seconds` spent on its own ones and
        `seconds_saved` by taking over.
    """
    taken = {step for part in read_shared(data, run) for step in range(part["first"], part["last"])}
    found = {"steps": 0, "shared": 0, "retrained": 0, "seconds": 0.0, "seconds_saved": 0.0}
    ends = [part["last"] for part in read_shared(data, run)]
    for step in range(steps):
        path = data / "08_reporting" / run / "steps" / f"step_{step_number(step, steps)}.json"
        if not path.exists():
            break
        seconds = json.loads(path.read_text(encoding="utf-8"))["seconds"]
        found["steps"] += 1
        if step not in taken:
            found["seconds"] += seconds["total"]
            continue
        found["shared"] += 1
        # The last step's policy is no checkpoint: it is made anew.
        end = next(end for end in ends if step < end)
        checkpoints = data / "06_models" / run / "checkpoints"
        behind = not any(
            (checkpoints / f"step_{step_number(later, steps)}").is_dir() for later in range(step, min(end, steps - 1))
        )
        training = seconds.get("training", 0.0)
        found["retrained"] += behind
        found["seconds"] += training * behind
        found["seconds_saved"] += seconds["total"] - training * behind
    return found
