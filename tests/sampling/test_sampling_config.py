"""The section `sampling`: which engines there are, and what of it identifies a run."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from sg_pipeline.config.loader import CONFIG_LOADER_ARGS, MethodConfigLoader, section
from sg_pipeline.config.tree import Parameters, check_parameters
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.runs.identity import fingerprint
from sg_pipeline.sampling.base import make_sampler

ROOT = Path(__file__).resolve().parents[2]
URL = {"url": "http://a:8000"}
VLLM = {"sampling": {"engine": "vllm", "server": URL}, "train": {"sampler_correction": "token_truncate"}}


def parameters(**given) -> Parameters:
    arguments = {**CONFIG_LOADER_ARGS, "env": "base", "runtime_params": given}
    return check_parameters(MethodConfigLoader(str(ROOT / "conf"), **arguments)["parameters"])


def test_identity_has_the_engine_and_what_its_results_depend_on():
    recorded = fingerprint(parameters(**VLLM))["parameters"]
    assert {name: value for name, value in recorded.items() if name.startswith("sampling.")} == {
        "sampling.engine": "vllm",
        "sampling.vllm.adapters": "auto",
        "sampling.vllm.dtype": "auto",
        "sampling.vllm.prefix_caching": True,
        "sampling.vllm.enforce_eager": None,
    }
    separate = {"sampling": {"engine": "vllm", "server": URL, "vllm": {"adapters": "separate"}}, "train": VLLM["train"]}
    other = fingerprint(parameters(**separate))
    assert other["parameters"] == {**recorded, "sampling.vllm.adapters": "separate"}


def test_identity_does_not_have_the_server():
    here, there = (
        parameters(sampling={"engine": "vllm", "server": server}, train={"sampler_correction": "token_truncate"})
        for server in ({"url": "http://a:8000/"}, {"executable": "vllm", "arguments": ["--x"], "answer_s": 3})
    )
    assert (here.sampling.server.url, there.sampling.server.url) == (("http://a:8000",), ())
    assert fingerprint(here) == fingerprint(there)
    assert fingerprint(here)["parameters"]["sampling.engine"] == "vllm"
    assert not any(name.startswith("sampling.server") for name in fingerprint(here)["parameters"])


@pytest.mark.parametrize(
    ("server", "sentence"),
    [
        ({}, r"needs either server\.url .* or server\.executable .*, but neither is set"),
        ({"url": ["http://a", "http://b"], "executable": "vllm"}, "but both are set"),
        ({"url": "localhost:8000"}, r"sampling\.server\.url: 'localhost:8000' must begin with http://"),
    ],
)
def test_server_without_one_valid_address_raises(server, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        parameters(sampling={"engine": "vllm", "server": server})


def test_vllm_without_sampler_correction_raises():
    with pytest.raises(ConfigurationError, match=r"train\.sampler_correction is 'none': set it to token_truncate"):
        parameters(sampling={"engine": "vllm", "server": URL})


def test_unknown_names_raise_with_the_nearest_one():
    with pytest.raises(ConfigurationError, match=r"unknown sampling engine 'vlm': did you mean 'vllm'\?"):
        parameters(sampling={"engine": "vlm"})
    with pytest.raises(ConfigurationError, match=r"unknown sampling engine 'vllm_server': did you mean 'vllm'\?"):
        parameters(sampling={"engine": "vllm_server"})
    with pytest.raises(ConfigurationError, match=r"did you mean sampling\.vllm\.dtype\?"):
        parameters(sampling={"vllm": {"dtyp": "auto"}})


def test_engine_outside_the_package_samples(monkeypatch):
    """A function with the signature of `make_sampler` is all that an engine needs."""
    made = SimpleNamespace(
        make_sampler=lambda policy, config, temperature, max_length: (policy, temperature, max_length)
    )
    monkeypatch.setitem(sys.modules, "my_engine", made)
    config = section("sampling", engine="my_engine:make_sampler")
    assert make_sampler("the policy", config, 0.7, 64) == ("the policy", 0.7, 64)
