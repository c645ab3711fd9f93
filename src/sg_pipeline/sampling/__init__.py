"""Sampling engines behind one protocol (`base.py`)."""
