"""Sampling with vLLM: a session (`session.py`) on an engine (`engine.py`), here (`local.py`) or a `server.py`."""
