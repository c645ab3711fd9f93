"""The section `sampling`: which engines there are, and what of it identifies a run."""

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


def test_identity_has_the_engine_and_what_its_results_depend_on_but_not_the_server():
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

    server = {"executable": "vllm", "arguments": ["--x"], "answer_s": 3}
    assert fingerprint(parameters(sampling={"engine": "vllm", "server": server}, train=VLLM["train"])) == fingerprint(
        parameters(**VLLM)
    )


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
    with pytest.raises(ConfigurationError, match=r"did you mean sampling\.vllm\.dtype\?"):
        parameters(sampling={"vllm": {"dtyp": "auto"}})
