"""How a policy learns: the SFT warm start, the experience of a step, and the GRPO learner by TRL."""
