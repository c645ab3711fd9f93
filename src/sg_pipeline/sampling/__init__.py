"""Sampling engines behind one protocol (`base.py`): the policy's own model, or a vLLM server."""
