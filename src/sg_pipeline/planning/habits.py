"""How the code allocates and computes: everything of a plan that belongs to this code and to no device.

One place to mend when the learner or the sampler changes, or when a measurement says otherwise. None of it was measured
on a GPU. Tests compare it with what the learner and the sampler allocate on the CPU.
"""

# ---- training (training/learner.py, training/trl_trainer.py) ----

MOMENTS = 2
"""AdamW's tensors a trained weight, in the weights' type."""
TILE_TOKENS, TILE_VOCABULARY = 4096, 32_768
"""TRL's fused output layer, used on GPUs, holds one tile of logits at a time (trl/kernels/chunked_logprob.py)."""
LEAN_LOGITS = 3
"""Tables of float32 (policy tokens x vocabulary) that `policy_token_logps`, used on CPUs, holds at its peak: logits,
log-probabilities, probabilities. Tested."""

TRAINER_SECONDS = 0.25
"""Building TRL's trainer anew for each step: the constant of a line through the default run's 80 training times."""

# ---- sampling (sampling/transformers_sampler.py, sampling/draw.py, sampling/kv_cache.py) ----

PREFILL_TOKENS, CACHE_BLOCK = 8192, 256
"""As in the sampler (a test compares them)."""
DRAW_BYTES = 16
"""A row and entry of the vocabulary: log-probabilities, probabilities (float32 each), cumulative sums (float64)."""

# ---- vLLM (planning/vllm.py) ----

VLLM_GIB = 0.4
"""Its libraries in the process, beside its weights and its cache: measured on a CPU."""
VLLM_LAYER_MS = 0.1
"""A decoder layer's least time with CUDA graphs, in place of efficiency.layer_ms: a rule of thumb."""

# ---- the process ----

FRAGMENTATION = 0.05
"""Share that CUDA's allocator holds in vain, of all that is allocated and freed in a step: a rule of thumb."""
MAPPED_BYTES = 32 * 2**20
"""What is larger glibc maps and gives back at once (its DEFAULT_MMAP_THRESHOLD_MAX). Of what is smaller it keeps most:
0.65, 0.61 and 0.26 GiB were measured where 0.66, 0.45 and 0.12 GiB of activations had been freed (docs/scaling.md)."""
CONTEXT_GIB = {"gpu": 1.0, "cpu": 0.65}
"""CUDA's context, handles and kernels; on a CPU the interpreter with torch, transformers and TRL, measured."""
WORKER_GIB = 0.36
"""An environment worker with ALFWorld's fast engine in the 80 steps of the default run. It grows with the states seen:
0.11 to 0.14 in the first four steps."""

# ---- disk ----

TRAJECTORY_BYTES = 4
"""A token in all Parquet files of a step; the default run takes 3.3, with fewer different tokens."""
