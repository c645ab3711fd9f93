"""Evaluation on frozen panels: play, scores and their intervals, calibration of guidance, prompting methods."""
