"""How an agent talks: prompts, chat template, guidance and action parsing (`format.py`)."""
