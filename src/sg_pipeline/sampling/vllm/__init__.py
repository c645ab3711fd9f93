"""Sampling with vLLM: an engine in this process (`local.py`) or a server (`server.py`), behind `session.py`."""
