"""Sampling with a vLLM server: a session (`sampler.py`) on an engine (`engine.py`) that asks a server (`server.py`)."""
