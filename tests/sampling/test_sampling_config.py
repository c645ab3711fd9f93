"""Which engine samples: what a user may say, and what a run remembers of it."""

from pathlib import Path

import pytest

from sg_pipeline.config.loader import CONFIG_LOADER_ARGS, MethodConfigLoader
from sg_pipeline.config.tree import Parameters, check_parameters
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.runs.identity import fingerprint

ROOT = Path(__file__).resolve().parents[2]
URL = {"url": "http://a:8000"}
VLLM = {"sampling": {"engine": "vllm", "server": URL}, "train": {"sampler_correction": "token_truncate"}}


def parameters(**given) -> Parameters:
    arguments = {**CONFIG_LOADER_ARGS, "env": "base", "runtime_params": given}
    return check_parameters(MethodConfigLoader(str(ROOT / "conf"), **arguments)["parameters"])


def test_another_engine_is_and_with_it_what_its_results_depend_on():
    recorded = fingerprint(parameters(**VLLM))["parameters"]
    assert {name: value for name, value in recorded.items() if name.startswith("sampling.")} == {
        "sampling.engine": "vllm",
        "sampling.vllm.adapters": "auto",
        "sampling.vllm.dtype": "auto",
        "sampling.vllm.prefix_caching": True,
        "sampling.vllm.enforce_eager": None,
    }
    separate = {"sampling": {"engine": "vllm", "server": URL, "vllm": {"adapters": "separate"}}, "train": VLLM["train"]}
    told = fingerprint(parameters(**separate))
    assert told["parameters"] == {**recorded, "sampling.vllm.adapters": "separate"}


def test_where_a_server_is_does_not_identify_a_run():
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
def test_a_server_is_found_in_one_way(server, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        parameters(sampling={"engine": "vllm", "server": server})


def test_vllm_wants_its_gap_corrected():
    with pytest.raises(ConfigurationError, match=r"train\.sampler_correction is 'none': set it to token_truncate"):
        parameters(sampling={"engine": "vllm", "server": URL})


def test_unknown_values_are_told():
    with pytest.raises(ConfigurationError, match=r"unknown sampling engine 'vlm': did you mean 'vllm'\?"):
        parameters(sampling={"engine": "vlm"})
    with pytest.raises(ConfigurationError, match=r"did you mean sampling\.vllm\.dtype\?"):
        parameters(sampling={"vllm": {"dtyp": "auto"}})
