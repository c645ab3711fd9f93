"""A training step by two (FSDP2) or four processes (DDP) equals that of one: policy, AdamW's state, metrics, errors."""

import re

import pytest
import sharing_train
import torch
from launcher import torchrun
from rounding import GRADIENT, LOGP, UPDATE, relative_difference, update_difference
from safetensors.torch import load_file

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    sharing_train.main(folder)
    return folder


@pytest.fixture(scope="module", params=[(4, "ddp"), (2, "fsdp2")], ids=lambda one: f"{one[0]} {one[1]}")
def shared(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared")
    ranks, strategy = request.param
    # Once in about 15 starts a rank of FSDP2 on gloo died in native code ("malloc(): unaligned fastbin chunk"); the
    # cause was not found. Such a crash is repeated once; a second one fails the test.
    for _ in range(2):
        done = torchrun(ranks, sharing_train.__file__, folder, strategy)
        if done.returncode == 0 or not re.search(r"exitcode: -(6|11)\b", done.stderr):
            break
    assert done.returncode == 0, done.stderr
    return folder


def test_shared_step_gives_the_policy_of_one_process(alone, shared):
    start = tensors(alone / "reference/model.safetensors")
    for name in sharing_train.CASES:
        one, other = (tensors(folder / name / "model.safetensors") for folder in (shared, alone))
        assert one.keys() == other.keys() == start.keys()
        assert update_difference(start.values(), one.values(), other.values()) < UPDATE, name
        one, other = (tensors(folder / name / "optimizer.safetensors") for folder in (shared, alone))
        assert one.keys() == other.keys()
        for moment in ("exp_avg/", "exp_avg_sq/", "step/"):
            parts = ([value for key, value in part.items() if key.startswith(moment)] for part in (one, other))
            assert relative_difference(*parts) < GRADIENT, (name, moment)


def tensors(path):
    """Name -> tensor, in the order of the names."""
    return dict(sorted(load_file(path).items()))


def test_shared_step_each_process_holds_its_part_of_the_optimizer_state(shared, request):
    """All of it with DDP; half with FSDP2, except for what is not divisible."""
    figures = torch.load(shared / "figures.pt", weights_only=False)
    share = figures["held"] / figures["whole"]
    assert share == 1.0 if "ddp" in request.node.name else 0.5 <= share < 0.52


def test_shared_step_gives_the_metrics_of_one_process(alone, shared):
    figures = [torch.load(folder / "figures.pt", weights_only=False)["figures"] for folder in (alone, shared)]
    for name in sharing_train.CASES:
        for one, other in zip(figures[0][name], figures[1][name], strict=True):
            gaps = one.pop("gaps"), other.pop("gaps")
            assert one.pop("seconds") > 0 < other.pop("seconds")
            assert one == pytest.approx(other, rel=1e-3, abs=LOGP), name
            assert gaps[0].keys() == gaps[1].keys()
            for row in gaps[0]:
                assert gaps[1][row] == pytest.approx(gaps[0][row], abs=LOGP, nan_ok=True)


def test_shared_step_error_of_one_process_stops_all_with_its_message(alone, shared, request):
    sentences = [path.read_text() for folder in (alone, shared) for path in sorted(folder.glob("diverged_*.txt"))]
    assert len(sentences) == 1 + (4 if "ddp" in request.node.name else 2)
    assert len(set(sentences)) == 1
    assert "at step 0 diverged: the loss is nan at optimizer step 1; " in sentences[0]
