"""A policy of 80,000 weights and experience that it could have sampled."""

from collections.abc import Callable

import pytest
import torch
from learning_tools import completion_logprobs

from sg_pipeline.config.base_model import TinyConfig
from sg_pipeline.environments.alfworld.vocabulary import alfworld_vocabulary
from sg_pipeline.policies.policy import Policy
from sg_pipeline.policies.tiny import build_tiny
from sg_pipeline.policies.tokenizer import build_tokenizer
from sg_pipeline.randomness import stream
from sg_pipeline.training.experience import ExperienceRow


@pytest.fixture(scope="session")
def tokenizer():
    return build_tokenizer(alfworld_vocabulary())


@pytest.fixture
def make_policy(tokenizer) -> Callable[[], Policy]:
    config = TinyConfig(hidden_size=32, layers=2, heads=2, head_dim=16, intermediate_size=48, initializer_range=0.1)
    return lambda: build_tiny(config, tokenizer, seed=3)


@pytest.fixture
def make_experience() -> Callable[..., list[ExperienceRow]]:
    """Return a maker of `count` rows of unequal length, two policy segments each, an observation between and behind."""

    def make(policy: Policy, count: int = 7, drift: float = 0.0, seed: int = 0) -> list[ExperienceRow]:
        rows = []
        for number in range(count):
            rng = stream(seed, "experience", number)
            prompt = rng.integers(10, 1000, int(rng.integers(3, 9))).tolist()
            parts = [int(rng.integers(2, 9)) for _ in range(4)]
            completion = rng.integers(10, 1000, sum(parts)).tolist()
            mask = [value for part, value in zip(parts, (1, 0, 1, 0), strict=True) for _ in range(part)]
            with torch.no_grad():
                logprobs = completion_logprobs(policy, prompt, completion)
            shift = rng.normal(0, 1, len(mask)) * drift
            recorded = [(float(p) + s) * m for p, s, m in zip(logprobs, shift, mask, strict=True)]
            rows.append(ExperienceRow(prompt, completion, recorded, mask, float(rng.normal())))
        return rows

    return make
