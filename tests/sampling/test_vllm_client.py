"""What goes wrong with a server, against one that only speaks like vLLM; right turns only vLLM can show."""

import json
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import psutil
import pytest
import torch
from safetensors.torch import load_file

from sg_pipeline.config.loader import section
from sg_pipeline.errors import SamplingError
from sg_pipeline.policies.policy import Policy
from sg_pipeline.sampling.vllm import client as client_module
from sg_pipeline.sampling.vllm import guard
from sg_pipeline.sampling.vllm.client import Client, NoAnswerError, RefusalError
from sg_pipeline.sampling.vllm.engine import Engine, Request
from sg_pipeline.sampling.vllm.held import fingerprint
from sg_pipeline.sampling.vllm.server import ServerEngine
from sg_pipeline.sampling.vllm.server_check import can_sleep, check_server
from sg_pipeline.sampling.vllm.server_process import ServerProcess

SHAPE = "VocabParallelEmbedding(num_embeddings=300, num_embeddings_per_partition=320, embedding_dim=64)"
TURN = Request([1, 2], (7,), 4, 1.0, seed=5)


class Server(ThreadingHTTPServer):
    """Answers a route with what `answers` has for it: a status and a body, or a function that returns them."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.asked = []
        self.model = {
            "logprobs_mode": "processed_logprobs", "max_model_len": 64, "dtype": "torch.float32", "quantization": None,
        }  # fmt: skip
        information = {"model_config": self.model, "cache_config": {"enable_prefix_caching": True}}
        self.answers = {
            "/version": (200, {"version": "0.32.0"}),
            "/server_info": (200, {"vllm_config": information}),
            "/weight_info": (200, {"weight_version": "default"}),
            "/collective_rpc": (200, {"results": [SHAPE]}),
            "/resume": (200, {}),
            "/inference/v1/generate": (200, completion("mine")),
        }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        path = urlsplit(self.path).path
        self.server.asked.append((path, json.loads(body) if body else None))
        answer = self.server.answers.get(path, (404, {"detail": "Not Found"}))
        answer = answer() if callable(answer) else answer
        if answer is None:  # hangs up
            self.close_connection = True
            return
        status, value = answer
        written = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(written)))
        self.end_headers()
        self.wfile.write(written)

    do_POST = do_GET

    def log_message(self, *arguments):
        """Be quiet."""


def completion(holder, ids=(3, 4, 7), reason="stop"):
    scores = {"content": [{"token_id": token, "logprob": -1.0} for token in ids]}
    spans = [{"version": holder, "start": 0, "end": len(ids)}]
    return {
        "choices": [{"finish_reason": reason, "token_ids": list(ids), "logprobs": scores, "weight_versions": spans}]
    }


@pytest.fixture
def server():
    server = Server()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def client(server, monkeypatch):
    monkeypatch.setattr(client_module, "_FIRST_PAUSE_S", 0.01)
    client = Client(server.url, answer_s=0.5)
    yield client
    client.close()


@pytest.fixture
def engine(client):
    """An engine that has brought its server up to date."""
    engine = ServerEngine.__new__(ServerEngine)
    Engine.__init__(engine, "float32")
    engine._own, engine._label, engine._under_way, engine._process = client, "mine", {}, None
    return engine


def written(engine, stop_when=None):
    engine.submit(0, TURN, stop_when)
    finished = []
    while not finished:
        finished = engine.poll()
    return finished[0][1]


def check(client, max_length=64):
    config = SimpleNamespace(vocab_size=300, hidden_size=64)
    config.get_text_config = lambda: config
    policy = SimpleNamespace(model=SimpleNamespace(config=config), name="tiny")
    check_server(client, policy, section("sampling").vllm, "float32", max_length)


def test_a_turn_is_asked_for_as_it_is_wanted(server, engine):
    turn = written(engine)
    assert (turn.ids, turn.logprobs, turn.stopped) == ([3, 4, 7], [-1.0] * 3, True)
    assert (written(engine, lambda ids: len(ids) == 2).ids, engine.poll()) == ([3, 4], [])
    (_, asked), *_ = server.asked
    assert asked["token_ids"] == [1, 2]
    wanted = {"temperature": 1.0, "seed": 5, "max_tokens": 4, "stop_token_ids": [7], "ignore_eos": True, "logprobs": 0}
    assert wanted.items() <= asked["sampling_params"].items()


def test_a_server_that_fits_is_taken(server, client):
    """Without a complaint, having been asked everything, woken from a pause, and tried with a token."""
    check(client)
    assert [path for path, _ in server.asked] == [
        "/version", "/server_info", "/weight_info", "/collective_rpc", "/resume", "/inference/v1/generate",
    ]  # fmt: skip
    assert server.asked[-1][1]["sampling_params"]["max_tokens"] == 1


@pytest.mark.parametrize(
    ("route", "answer", "sentence"),
    [
        ("/version", (404, {}), "does not answer like a vLLM server"),
        ("/server_info", (404, {}), "development routes are off: start it with VLLM_SERVER_DEV_MODE=1"),
        ("/server_info", (200, {"other": 1}), "is not understood"),
        ("/weight_info", (404, {}), r"is vLLM 0\.32\.0, which does not tell whose weights"),
        ("/collective_rpc", (200, {"results": [SHAPE.replace("300", "151936")]}), "vocab_size is 151936 there and 300"),
        ("/inference/v1/generate", (403, {"error": {"message": "disabled"}}), "with the flag --enable-scale-out"),
        ("/version", (401, {"error": "Unauthorized"}), "Unauthorized"),
    ],
)
def test_another_server_is_told_with_what_mends_it(server, client, route, answer, sentence):
    server.answers[route] = answer
    with pytest.raises(SamplingError, match=sentence):
        check(client)


def test_wrong_flags_are_told_all_at_once(server, client):
    server.model["logprobs_mode"] = "raw_logprobs"
    with pytest.raises(SamplingError, match=r"--logprobs-mode processed_logprobs; takes 64 tokens.*--max-model-len 65"):
        check(client, 65)


def test_a_connection_that_breaks_is_tried_again(server, engine):
    once = iter([None, None])
    server.answers["/inference/v1/generate"] = lambda: next(once, (200, completion("mine")))
    assert written(engine).ids == [3, 4, 7]
    assert len(server.asked) == 3


def test_a_server_that_is_gone_or_silent_is_told(server, engine):
    server.answers["/inference/v1/generate"] = lambda: None
    with pytest.raises(SamplingError, match=rf"{server.url} does not answer any more .* --only-missing-outputs"):
        written(engine)
    assert len(server.asked) == 4
    server.answers["/inference/v1/generate"] = lambda: time.sleep(1.0)
    with pytest.raises(SamplingError, match=r"no answer within 0\.5 s \(sampling\.server\.answer_s\)"):
        written(engine)
    assert len(server.asked) == 5  # silence is not tried again
    assert engine.poll() == []


def test_a_server_that_has_ended_between_turns_is_told(engine, tmp_path):
    engine._folder, engine._clients = tmp_path / "went_with_it", {}
    with pytest.raises(SamplingError, match=r"weights of step 3 cannot be written to .*sampling\.server\.weights"):
        engine.load(SimpleNamespace(name="tiny", step=3))
    engine._process = SimpleNamespace(obituary=lambda wait_s: "it has ended with code 1")
    with pytest.raises(
        SamplingError, match=r"is gone: it has ended with code 1; run the same command with --only-miss"
    ):
        engine.load(SimpleNamespace(name="tiny", step=3))


@pytest.mark.parametrize(
    "answer", [completion("theirs"), completion("mine", reason="abort"), completion("mine") | completion("default")]
)
def test_weights_that_are_not_the_runs_are_noticed(server, engine, answer):
    server.answers["/inference/v1/generate"] = (200, answer)
    with pytest.raises(
        SamplingError, match=r"does not hold this run's weights \('mine'\) any more.*a server of its own"
    ):
        written(engine)


def test_refusals_say_what_the_server_says(server, engine, client):
    server.answers["/inference/v1/generate"] = (500, {"error": {"message": "EngineCore encountered an issue"}})
    with pytest.raises(SamplingError, match=r"does not write a turn \(500: EngineCore encountered an issue\)"):
        written(engine)
    with pytest.raises(RefusalError, match="Not Found"):
        client.get("/nowhere")
    nobody = Client("http://127.0.0.1:9", answer_s=60.0)  # refused at once, also on a busy machine
    with pytest.raises(NoAnswerError, match="Cannot connect"):
        nobody.get("/version")
    nobody.close()


def test_what_is_forgotten_is_broken_off(server, engine):
    gone = threading.Event()
    server.answers["/inference/v1/generate"] = lambda: gone.wait(0.3) and None
    engine.submit(0, TURN)
    engine.forget()
    assert engine.poll() == []
    server.answers["/inference/v1/generate"] = (200, completion("mine"))
    assert written(engine).ids == [3, 4, 7]  # not the answer to the first one, under the same key


def test_a_server_that_does_not_start_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("sg_pipeline.sampling.vllm.server_process.write_configuration", lambda policy, folder: None)
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
            ServerProcess(None, config, "float32", 64)
    assert [path.suffix for path in tmp_path.glob("sg_vllm_*")] == [".log"]


def test_a_killed_run_leaves_no_server(tmp_path):
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


@pytest.mark.parametrize("arrives", [True, False])
def test_weights_that_server_holds_are_compared_with_those_that_were_sent(server, engine, tmp_path, arrives):
    """A server that acknowledges an update of a small step and keeps its old weights is found."""
    policy = Policy(torch.nn.Linear(64, 64), range(3))
    policy.model.config = SimpleNamespace(tie_word_embeddings=False)
    engine._folder, engine._clients, engine._shows = tmp_path, {server.url: engine._own}, True
    held = {}

    def answer():
        asked = server.asked[-1][1]
        if asked["method"] == "reload_weights":
            read = load_file(next(Path(asked["kwargs"]["weights_path"]).glob("*.safetensors")))
            held.update(read if arrives or not held else {})
            return 200, {"results": [None]}
        return 200, {"results": [{name: fingerprint([held[name]], asked["kwargs"]["dtype"]) for name in held}]}

    server.answers |= {"/collective_rpc": answer, "/pause": (200, {}), "/update_weight_version": (200, {})}
    for _ in range(2):
        engine.load(policy)
        equal = engine.held(["weights"]) == [engine.sent(policy)]
        with torch.no_grad():
            policy.model.weight.add_(1e-6)
        policy.step += 1
    assert equal is arrives


def test_server_sleeps_while_the_policy_is_trained_and_wakes_for_new_weights(server, engine, tmp_path):
    """Asleep it holds no weights: it gets the base weights again, also where adapters are sent separately."""
    engine._clients, engine._sleeps, engine._base, engine._step = {server.url: engine._own}, True, "digest", 3
    routes = ("/sleep", "/wake_up", "/pause", "/update_weight_version")
    server.answers |= dict.fromkeys(routes, (200, {}))
    engine.rest()
    engine.rest()
    assert [path for path, _ in server.asked] == ["/sleep"]
    assert (engine.step, engine._base) == (None, None)
    engine._base_sent = False
    engine._hand_over(engine._own, tmp_path, "label")
    assert [path for path, _ in server.asked][1:3] == ["/wake_up", "/pause"]


@pytest.mark.parametrize("able", [True, False])
def test_server_that_cannot_sleep_is_reported(server, client, able, caplog):
    server.model["enable_sleep_mode"] = able
    assert can_sleep(client) is able
    assert ("sampling.vllm.sleep is ignored" in caplog.text) is not able
