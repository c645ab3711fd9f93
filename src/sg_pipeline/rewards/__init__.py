"""The internal reward: polarity to step reward, trust schedule, returns, advantages, and dials of reward hacking."""
