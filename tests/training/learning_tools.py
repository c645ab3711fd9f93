"""What several tests of the learner need."""

import torch

from sg_pipeline.policies.policy import Policy

TEMPERATURE = 0.8


def completion_logprobs(policy: Policy, prompt: list[int], completion: list[int]) -> torch.Tensor:
    """Return log pi(token) of each completion token at `TEMPERATURE`, by the plainest forward there is."""
    ids = torch.tensor([prompt + completion])
    logits = policy.model(input_ids=ids).logits[0, len(prompt) - 1 : -1]
    return (logits / TEMPERATURE).log_softmax(-1).gather(-1, torch.tensor(completion)[:, None])[:, 0]


def weights(policy: Policy) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in policy.model.parameters()]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
