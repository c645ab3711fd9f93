"""Muon for matrices, AdamW for the rest."""

import copy

import pytest
import torch

from sg_pipeline.training.muon import MuonAdamW, orthogonalised
from sg_pipeline.training.optimizer_state import export_state, import_state


@pytest.mark.parametrize("shape", [(24, 24), (8, 40), (40, 8)])
def test_orthogonalised_keeps_directions_and_levels_sizes(shape):
    torch.manual_seed(0)
    matrix = torch.randn(shape) * 1e-3
    u, sizes, vt = torch.linalg.svd(matrix, full_matrices=False)
    result = orthogonalised(matrix)
    # In the singular bases of the input the result is diagonal, with a diagonal of about one.
    inner = u.T @ result @ vt.T
    assert (inner - torch.diag(inner.diagonal())).abs().max() < 1e-4
    large = sizes > 0.02 * matrix.norm()
    assert large.sum() > min(shape) * 0.8
    assert inner.diagonal()[large].min() > 0.5
    assert inner.diagonal()[large].max() < 1.3


def step(model, optimizer, ids):
    logits = model(input_ids=ids).logits[:, :-1]
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).backward()
    optimizer.step()
    optimizer.zero_grad()


def optimizer_of(model, lr=1e-3):
    return MuonAdamW(model, lr=lr, betas=(0.9, 0.98), weight_decay=0.0)


def test_matrices_take_muon_and_the_rest_adamw(make_policy):
    model = make_policy().model
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = optimizer_of(model)
    step(model, optimizer, torch.arange(20, 60).view(2, 20))
    for name, parameter in model.named_parameters():
        moved = parameter.detach() - before[name]
        state = sorted(optimizer.state[parameter])
        if "proj" in name:
            assert state == ["momentum_buffer", "step"]
            # The step of a matrix has singular values of about 0.2 * sqrt(longer side) * lr.
            sizes = torch.linalg.svdvals(moved) / (0.2 * max(moved.shape) ** 0.5 * 1e-3)
            assert sizes.max() < 1.4
            assert sizes.median() > 0.5
        else:
            assert state == ["exp_avg", "exp_avg_sq", "step"]
            assert moved.abs().max() == pytest.approx(4e-3, rel=0.02)


def test_state_survives(make_policy):
    ids = torch.arange(20, 60).view(2, 20)
    one = make_policy().model
    optimizer = optimizer_of(one)
    step(one, optimizer, ids)
    other = copy.deepcopy(one)
    fresh = optimizer_of(other)
    import_state(fresh, other, export_state(optimizer, one))
    step(one, optimizer, ids)
    step(other, fresh, ids)
    for (name, a), b in zip(one.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b), name


def test_only_vectors_are_spared_weight_decay(make_policy):
    model = make_policy().model
    optimizer = MuonAdamW(model, lr=1.0, betas=(0.9, 0.98), weight_decay=0.1)
    decayed = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert len(decayed) == len(list(model.parameters()))
    for parameter in model.parameters():
        assert decayed[id(parameter)] == (0.1 if parameter.ndim == 2 else 0.0)
