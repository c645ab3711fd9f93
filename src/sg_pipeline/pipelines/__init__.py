"""The graphs. Nodes are thin: they take plain data, call one domain function and return plain data."""
