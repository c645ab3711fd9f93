"""Kedro datasets of the project: atomic files, and policies that are live in memory and durable on disk."""
