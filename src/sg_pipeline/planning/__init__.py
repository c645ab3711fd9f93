"""Memory, time and disk of a run, before it is started.

memory    a formula for weights, gradients, optimizer state and key-value cache, from the model's configuration
trial     the first steps of the run, in a process and under a name of their own; reading what steps have recorded
plan      formula and measured steps, extrapolated to the whole run, as JSON and in Markdown
"""
