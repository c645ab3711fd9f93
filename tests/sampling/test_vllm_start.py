"""Before the first turn: does a running server fit the run, and what becomes of one that the run starts."""

import signal
import subprocess
import sys
import time

import psutil
import pytest
from fake_vllm import policy_of, running

from sg_pipeline.config.loader import section
from sg_pipeline.errors import SamplingError
from sg_pipeline.sampling.vllm import guard
from sg_pipeline.sampling.vllm.client import Client
from sg_pipeline.sampling.vllm.server import ServerProcess, check_server

POLICY = policy_of(compute="weights")


@pytest.fixture
def server():
    with running(POLICY) as server:
        yield server


def check(url, max_length=128, rank=None, **vllm):
    client = Client(url, answer_s=5.0, attempts=1)
    try:
        return check_server(client, POLICY, section("sampling", vllm=vllm).vllm, "float32", max_length, rank)
    finally:
        client.close()


@pytest.mark.parametrize("sleeps", [False, True])
def test_server_that_fits_is_woken_resumed_and_tried_with_a_token(server, sleeps):
    server.info["model_config"]["enable_sleep_mode"] = sleeps
    assert check(server.url) == server.info
    assert server.paths[3:] == [
        "/collective_rpc", *["/wake_up"] * sleeps, "/resume", "/inference/v1/generate"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("route", "answer", "sentence"),
    [
        ("/version", (404, {}), "does not answer like a vLLM server"),
        ("/server_info", (404, {}), "development routes are off: start it with VLLM_SERVER_DEV_MODE=1"),
        ("/server_info", (200, {"other": 1}), "gives an unknown answer"),
        ("/weight_info", (404, {}), r"is vLLM 0\.32\.0, which does not report whose weights"),
        ("/inference/v1/generate", (403, {"error": {"message": "disabled"}}), "with the flag --enable-scale-out"),
        ("/version", (401, {"error": "Unauthorized"}), "Unauthorized"),
        ("/version", None, r"cannot be reached .*docs/vllm\.md"),
    ],
)
def test_server_that_does_not_fit_raises_with_the_flag_that_fixes_it(server, route, answer, sentence):
    server.answers[route] = answer
    with pytest.raises(SamplingError, match=sentence):
        check(server.url)


@pytest.mark.parametrize(
    ("section", "found", "flag"),
    [
        ("model_config", {"logprobs_mode": "raw_logprobs"}, "--logprobs-mode processed_logprobs"),
        ("model_config", {"max_model_len": 127}, "--max-model-len 128"),
        ("model_config", {"dtype": "torch.bfloat16"}, "--dtype float32"),
        ("model_config", {"quantization": "fp8"}, "without quantisation"),
        ("cache_config", {"enable_prefix_caching": False}, "--enable-prefix-caching"),
        ("lora_config", {"max_lora_rank": 1}, "--enable-lora --max-loras 1 --max-lora-rank 4"),
    ],
)
def test_server_with_a_wrong_setting_raises_with_the_flag_that_fixes_it(server, section, found, flag):
    server.info[section] |= found
    with pytest.raises(SamplingError, match=flag):
        check(server.url, rank=4)


def test_all_wrong_settings_and_another_vocabulary_are_reported(server):
    with pytest.raises(SamplingError, match=r"--max-model-len 129; has prefix caching on.*--no-enable-prefix-caching"):
        check(server.url, 129, prefix_caching=False)
    server.shape = server.shape.replace("300", "151936")
    with pytest.raises(SamplingError, match="another model than policy: vocab_size is 151936 there and 300 here"):
        check(server.url)


def test_server_that_does_not_start_raises_with_its_error_and_log(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    script = tmp_path / "vllm"
    last_words = "WARNING this can cause OSError: limit", "ModuleNotFoundError: No module named vllm"
    script.write_text("".join(["#!/bin/sh\n", *(f"echo '{line}'\n" for line in last_words), "exit 3\n"]))
    script.chmod(0o755)
    for executable, sentence in (
        (script, r"does not start: it has ended with code 3 \(ModuleNotFoundError: No module named vllm\); its log is"),
        (tmp_path / "nothing", "which is no program"),
    ):
        config = section("sampling", engine="vllm", server={"executable": str(executable)})
        with pytest.raises(SamplingError, match=sentence):
            ServerProcess(POLICY, config, "float32", 64)
    assert [path.suffix for path in tmp_path.glob("sg_vllm_*")] == [".log"]


def test_killed_run_leaves_no_server_and_no_folder(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    command = [sys.executable, "-I", guard.__file__, str(folder), "sh", "-c", "sleep 600 & sleep 600"]
    run = (
        "import subprocess, time\n"
        f"process = subprocess.Popen({command!r}, stdin=subprocess.PIPE, start_new_session=True)\n"
        "time.sleep(600)"
    )
    killed = subprocess.Popen([sys.executable, "-c", run])
    processes = []
    while len(processes) < 4:
        time.sleep(0.02)
        processes = psutil.Process(killed.pid).children(recursive=True)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    _, left = psutil.wait_procs(processes, timeout=5)
    assert not [process for process in left if process.status() != psutil.STATUS_ZOMBIE]
    assert not folder.exists()
