"""Sampling with vLLM: the session (`session.py`) on an engine (`engine.py`), which is in this process (`local.py`)."""
