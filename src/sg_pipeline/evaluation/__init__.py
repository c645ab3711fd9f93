"""Evaluation: what a policy achieves on frozen panels, how sure that is, and whether its guidance means anything."""
