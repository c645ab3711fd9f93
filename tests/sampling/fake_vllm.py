"""A server that speaks like vLLM 0.32 and computes with a copy of a policy, for tests without vLLM."""

import copy
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import torch
from safetensors.torch import load_file
from transformers import Qwen3Config, Qwen3ForCausalLM

from sg_pipeline.policies.policy import Policy
from sg_pipeline.policies.weights import named_weights
from sg_pipeline.sampling.vllm.held import fingerprint
from sg_pipeline.sampling.vllm.weights import adapter_matrices

SIZES = {
    "vocab_size": 300, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 1, "head_dim": 32, "max_position_embeddings": 1024, "initializer_range": 0.1,
}  # fmt: skip


def policy_of(kind=Qwen3ForCausalLM, compute="bfloat16", **sizes):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = kind(Qwen3Config(**SIZES | sizes)).eval()
    return Policy(model, range(300), compute=compute)


class FakeVllm(ThreadingHTTPServer):
    """Holds a model, and writes the tokens 0, 7, 14, ... with its log-probabilities, up to a stop token.

    Attributes:
        model: a copy of the policy's, in `dtype`; weights and adapters are loaded from files.
        asked: every request: (path, query, body).
        answers: path -> what is answered instead: (status, body), None (it hangs up), or a function returning one.
        stale: an update leaves the weights alone whose names begin with this; "" means all of them.
        store: how the server stores a weight.
        info: what /server_info returns.
    """

    daemon_threads = True

    def __init__(self, policy, dtype="float32"):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.model = copy.deepcopy(policy.model).to(getattr(torch, dtype))
        self.asked, self.answers, self.label, self.adapters = [], {}, "default", []
        self.stale, self.store = None, lambda weight: weight
        sizes = policy.vocabulary(), policy.model.config.hidden_size
        self.shape = f"VocabParallelEmbedding(num_embeddings={sizes[0]}, per_partition=512, embedding_dim={sizes[1]})"
        self.info = {
            "model_config": {
                "logprobs_mode": "processed_logprobs", "max_model_len": 128, "dtype": f"torch.{dtype}",
                "quantization": None, "enable_sleep_mode": False,
            },
            "cache_config": {"enable_prefix_caching": True},
            "lora_config": {"max_lora_rank": 8},
            "parallel_config": {"worker_extension_cls": "sg_held.HeldWeights"},
        }  # fmt: skip

        self._routes = {
            **dict.fromkeys(("/weight_info", "/pause", "/resume", "/sleep", "/wake_up"), lambda body: (200, {})),
            "/version": lambda body: (200, {"version": "0.32.0"}),
            "/server_info": lambda body: (200, {"vllm_config": self.info}),
            "/v1/models": lambda body: (200, {"data": [{"id": "base", "parent": None}, *self.adapters]}),
            "/v1/load_lora_adapter": self._load,
            "/v1/unload_lora_adapter": self._unload,
            "/update_weight_version": self._set_label,
            "/inference/v1/generate": self._write,
            "/collective_rpc": self._rpc,
        }

    @property
    def paths(self):
        return [path for path, _, _ in self.asked]

    def answer(self, path, query, body):
        self.asked.append((path, query, body))
        if path in self.answers:
            found = self.answers[path]
            return found() if callable(found) else found
        return self._routes[path](body) if path in self._routes else (404, {"detail": "Not Found"})

    def _rpc(self, body):
        return 200, {"results": [getattr(self, body["method"])(*body.get("args", ()), **body.get("kwargs", {}))]}

    def _set_label(self, body):
        self.label = body["new_version"]
        return 200, {}

    def _unload(self, body):
        self.adapters.remove({"id": body["lora_name"], "parent": "base"})
        return 200, {}

    def _load(self, body):
        from peft import set_peft_model_state_dict

        if self.stale is None:
            file = Path(body["lora_path"]) / "adapter_model.safetensors"
            set_peft_model_state_dict(self.model, load_file(file))
        self.adapters.append({"id": body["lora_name"], "parent": "base"})
        return 200, {}

    def get_model_inspection(self):
        return self.shape

    def update_config(self, changes):
        assert changes == {"load_config": {"load_format": "auto"}}

    def reload_weights(self, weights_path, is_checkpoint_format=True):
        own = {} if hasattr(self.model, "peft_config") else self.model.state_dict()
        for file in sorted(Path(weights_path).glob("*.safetensors")):
            for name, weight in load_file(file).items():
                if name in own and (self.stale is None or not name.startswith(self.stale)):
                    own[name].copy_(weight)

    def held_weights(self, dtype):
        own = Policy(self.model, range(3))
        return {"model": fingerprint((self.store(weight) for _, weight in named_weights(own, adapters=False)), dtype)}

    def held_adapters(self, dtype):
        return {"model": fingerprint(adapter_matrices(Policy(self.model, range(3)), dtype), dtype)}

    def _write(self, body):
        prompt, parameters = body["token_ids"], body["sampling_params"]
        ids = [7 * index for index in range(parameters["max_tokens"])]
        stops = parameters.get("stop_token_ids", [])
        ids = ids[: next((index + 1 for index, token in enumerate(ids) if token in stops), len(ids))]
        with torch.no_grad():
            logits = self.model(torch.tensor([[*prompt, *ids]])).logits[0, len(prompt) - 1 : -1].float()
        logprobs = torch.log_softmax(logits, -1).gather(-1, torch.tensor(ids)[:, None])[:, 0]
        return 200, written(self.label, ids, logprobs.tolist())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        address = urlsplit(self.path)
        answer = self.server.answer(
            address.path, dict(parse_qsl(address.query)), json.loads(body) if body.strip(b"null") else None
        )
        if answer is None:
            self.close_connection = True
            return
        status, value = answer
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET

    def log_message(self, *arguments):
        """Write no log."""


def written(label, ids=(3, 4, 7), logprobs=(-1.0, -1.0, -1.0), reason="stop"):
    """The answer to a turn."""
    scores = {
        "content": [{"token_id": token, "logprob": logprob} for token, logprob in zip(ids, logprobs, strict=True)]
    }
    spans = [{"version": label, "start": 0, "end": len(ids)}]
    return {
        "choices": [{"finish_reason": reason, "token_ids": list(ids), "logprobs": scores, "weight_versions": spans}]
    }


@contextmanager
def running(policy, dtype="float32"):
    """Run a server for a block."""
    server = FakeVllm(policy, dtype)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
