"""What the paper reports, for orientation beside our own figures and never among them.

Source: Wang et al., "Co-Evolution of Policy and Internal Reward for Language Agents", arXiv 2604.03098 (April 2026).
The paper gives no intervals, seeds or number of evaluation episodes for these figures.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

SOURCE = "Wang et al., arXiv 2604.03098"

SETTING = "official ALFWorld, ScienceWorld and WebShop data; 80 training steps"

ALFWORLD, SCIENCEWORLD, WEBSHOP = "ALFWorld success", "ScienceWorld score", "WebShop score"
BENCHMARKS = (ALFWORLD, SCIENCEWORLD, WEBSHOP)
OF_ENVIRONMENT = {"alfworld": ALFWORLD, "scienceworld": SCIENCEWORLD, "webshop": WEBSHOP}
"""`environment.name` -> the column of the main table."""


@dataclass(frozen=True, slots=True)
class Published:
    """One row of the paper's main table.

    Attributes:
        model: the policy.
        method: what it is in the paper.
        ours: our method that it corresponds to; None where we have none.
        figures: benchmark -> per cent, or points of 100.
    """

    model: str
    method: str
    ours: str | None
    figures: Mapping[str, float] = field(default_factory=dict)


def _row(model: str, method: str, ours: str | None, *figures: float) -> Published:
    return Published(model, method, ours, dict(zip(BENCHMARKS, figures, strict=True)))


MAIN = (
    _row("Qwen3-1.7B", "GRPO", "grpo", 72.7, 23.5, 63.0),
    _row("Qwen3-1.7B", "GRPO w/ SG", "grpo_sg", 81.3, 25.3, 76.7),
    _row("Qwen3-1.7B", "GRPO w/ SG & GR", "grpo_sg_gr", 89.8, 28.0, 79.4),
    _row("Qwen3-4B", "ReAct", None, 20.3, 12.4, 31.1),
    _row("Qwen3-4B", "ReAct w/ SG", None, 58.6, 13.1, 42.7),
    _row("Qwen3-4B", "GRPO", "grpo", 86.7, 51.4, 84.3),
    _row("Qwen3-4B", "GRPO w/ SG", "grpo_sg", 91.4, 60.4, 87.0),
    _row("Qwen3-4B", "GRPO w/ SG & GR", "grpo_sg_gr", 96.9, 61.6, 87.8),
    _row("Qwen2.5-7B-Instruct", "GRPO", "grpo", 83.6, 62.7, 77.5),
    _row("Qwen2.5-7B-Instruct", "GRPO w/ SG", "grpo_sg", 92.2, 69.4, 89.3),
    _row("Qwen2.5-7B-Instruct", "GRPO w/ SG & GR", "grpo_sg_gr", 95.3, 72.6, 90.1),
)
"""The main table. It verifies the method with DAPO as well; those figures are not in our notes."""


@dataclass(frozen=True, slots=True)
class PublishedSchedule:
    """One row of the paper's schedule ablation.

    Attributes:
        method: the schedule in the paper's words.
        ours: our method that it corresponds to.
        success: WebShop success in per cent, Qwen3-1.7B.
    """

    method: str
    ours: str
    success: float


SCHEDULES = (
    PublishedSchedule("GRPO", "grpo", 32.0),
    PublishedSchedule("guidance only", "grpo_sg", 49.2),
    PublishedSchedule("immediate full reward", "immediate", 39.7),
    PublishedSchedule("entry at step 15", "entry_15", 49.4),
    PublishedSchedule("entry at step 25", "entry_25", 53.8),
    PublishedSchedule("no annealing", "no_annealing", 53.2),
    PublishedSchedule("full schedule", "grpo_sg_gr", 56.3),
)
SCHEDULES_SETTING = "WebShop success, Qwen3-1.7B"


@dataclass(frozen=True, slots=True)
class PublishedGuide:
    """One row of the paper's cross-checkpoint study: the policy of checkpoint 40, guided by another checkpoint.

    Attributes:
        guide_step: the checkpoint that writes the guidance.
        score, success: on WebShop, of 100.
    """

    guide_step: int
    score: float
    success: float


GUIDES = (PublishedGuide(10, 39.8, 18.0), PublishedGuide(40, 51.2, 25.0), PublishedGuide(80, 60.5, 27.0))
GUIDES_POLICY_STEP = 40
GUIDES_SETTING = "WebShop, policy fixed at checkpoint 40 of 80"
