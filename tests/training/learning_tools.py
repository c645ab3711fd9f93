"""What several tests of the learner need."""

import torch

from sg_pipeline.policies.policy import Policy
from sg_pipeline.randomness import stream
from sg_pipeline.sampling.transformers_sampler import TransformersSampler
from sg_pipeline.training.experience import ExperienceRow

TEMPERATURE = 0.8


def completion_logprobs(policy: Policy, prompt: list[int], completion: list[int]) -> torch.Tensor:
    """Return log pi(token) of each completion token at `TEMPERATURE`, by the plainest forward there is."""
    ids = torch.tensor([prompt + completion])
    logits = policy.model(input_ids=ids).logits[0, len(prompt) - 1 : -1]
    return (logits / TEMPERATURE).log_softmax(-1).gather(-1, torch.tensor(completion)[:, None])[:, 0]


def sampled(policy, compute, rows=8, turns=3, written=6):
    """Return experience that the sampler has made, and its session."""
    session = TransformersSampler(policy.model, TEMPERATURE, compute).open([stream(1, row) for row in range(rows)], 400)
    ids, mask, logprobs = ([[] for _ in range(rows)] for _ in range(3))
    for turn in range(turns):
        contexts = [stream(2, turn, row).integers(10, 1000, 4 + row).tolist() for row in range(rows)]
        for row, completion in enumerate(session.extend(range(rows), contexts, [], written)):
            ids[row] += contexts[row] + completion.ids
            mask[row] += [0] * len(contexts[row]) + [1] * written
            logprobs[row] += [0.0] * len(contexts[row]) + completion.logprobs
    made = [
        ExperienceRow(ids[r][:4], ids[r][4:], logprobs[r][4:], mask[r][4:], (-1.0) ** r * (1 + r)) for r in range(rows)
    ]
    return made, session


def weights(policy: Policy) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in policy.model.parameters()]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
