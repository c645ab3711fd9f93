"""Agents: text and tokens of a turn.

prompts/      prompt sets, and the commands that they list
chat.py       the parts of a chat template; where a model's reasoning ends
encoding.py   text to tokens, so that only the template writes control tokens
turns.py      what the text of a completion says: thoughts, guidance, action
format.py     observation -> tokens, completion -> turn
handover.py   turns whose guidance another policy writes
reflexion.py  notes on failed trials
"""
