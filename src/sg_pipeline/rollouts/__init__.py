"""Rollouts: agents x environments x sampling -> trajectories.

step.py      the tasks of a co-evolution step, and with dynamic sampling further ones
play.py      a live policy's sampler, format and environments; ranks and waves
collect.py   one batch of episodes, turn by turn, from task to trajectory
result.py    trajectories, timings and counters, and how several results add up
"""
