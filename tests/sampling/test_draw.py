import math

import numpy as np
import pytest
import torch

from sg_pipeline.sampling.draw import draw


def test_a_number_falls_into_its_tokens_share():
    logits = torch.log(torch.tensor([[0.2, 0.0, 0.5, 0.3]]))
    for number, token in [(0.0, 0), (0.19, 0), (0.21, 2), (0.69, 2), (0.71, 3), (1 - 2**-53, 3)]:
        ids, scores = draw(logits, [number], 1.0)
        assert ids == [token]
        assert scores[0] == pytest.approx(math.log([0.2, 0, 0.5, 0.3][token]), abs=1e-6)


def test_impossible_tokens_at_the_ends_are_never_drawn():
    logits = torch.tensor([[-math.inf, 0.0, 0.0, -math.inf]])
    assert draw(logits, [0.0], 1.0)[0] == [1]
    assert draw(logits, [1 - 2**-53], 1.0)[0] == [2]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequencies_follow_the_temperature(temperature):
    logits = torch.tensor([1.0, 0.0, -1.0, 2.0])
    numbers = np.random.default_rng(0).random(20_000)
    ids, scores = draw(logits.expand(len(numbers), -1), numbers.tolist(), temperature)
    expected = torch.softmax(logits / temperature, dim=-1)
    assert np.bincount(ids, minlength=4) / len(ids) == pytest.approx(expected.numpy(), abs=0.015)
    assert scores[0] == pytest.approx(expected[ids[0]].log().item(), abs=1e-5)


def test_temperature_zero_takes_the_likeliest_whatever_the_number():
    logits = torch.tensor([[0.0, 3.0, 1.0]] * 3)
    ids, scores = draw(logits, [0.0, 0.5, 0.999], 0.0)
    assert ids == [1, 1, 1]
    assert scores[0] == pytest.approx(torch.log_softmax(logits[0], -1)[1].item())


def test_a_large_vocabularys_tail_is_drawn():
    logits = torch.zeros(1, 200_000)
    assert draw(logits, [1 - 1e-12], 1.0)[0] == [199_999]
    assert draw(logits, [0.5], 1.0)[0][0] in (99_999, 100_000, 100_001)
