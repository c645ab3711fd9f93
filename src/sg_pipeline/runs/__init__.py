"""A run on disk: steps, identity, lock, outputs."""
