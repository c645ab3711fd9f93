"""Real chat templates: their parts, and the same prompt on every day."""

import datetime

import pytest
from chat_templates import real_templates, real_tokenizer
from transformers.utils import chat_template_utils

from sg_pipeline.agents.format import AgentFormat
from sg_pipeline.agents.prompts import Prompts
from sg_pipeline.errors import CheckpointError
from sg_pipeline.trajectories.types import Polarity

PROMPTS = Prompts("short", "Guide, then act.", "Act.")
VISION = {"idefics3", "llava_next", "smolvlm"}  # their messages are no text


def on_day(monkeypatch, year):
    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(year, 2, 28)

    monkeypatch.setattr(chat_template_utils, "datetime", Clock)


@pytest.mark.parametrize("name", sorted(real_templates()))
def test_real_template_parses_its_reply_and_ignores_the_clock(monkeypatch, name):
    tokenizer = real_tokenizer(name)
    prompts = []
    for year in (2031, 2032):
        on_day(monkeypatch, year)
        if name in VISION:
            with pytest.raises(CheckpointError, match="cannot be used for trajectories that only grow"):
                AgentFormat(tokenizer, PROMPTS, guidance=True)
            return
        agent_format = AgentFormat(tokenizer, PROMPTS, guidance=True)
        prompts.append(agent_format.opening("You see a shelf.") + agent_format.following([], "Nothing happens."))
    assert prompts[0] == prompts[1]
    reply = agent_format.encode_reply(Polarity.POSITIVE, "on", "go to shelf 2")
    turn = agent_format.parse(reply)
    assert (turn.guidance, turn.action, turn.action_parsed) == ("positive: on", "go to shelf 2", True)
    assert [token in agent_format.stop_ids for token in reply] == [False] * (len(reply) - 1) + [True]
    asks = {"llama3_2": "Today Date: 03 Mar 2025", "gptoss": "Current date: 2025-03-03"}
    if name in asks:
        assert asks[name] not in tokenizer.decode(prompts[0])
        dated = AgentFormat(tokenizer, PROMPTS, guidance=True, date=datetime.date(2025, 3, 3))
        assert asks[name] in tokenizer.decode(dated.opening("You see a shelf."))


def test_real_templates_include_some_that_ask_for_the_date():
    assert {name for name, text in real_templates().items() if "strftime_now" in text} >= {"llama3_2", "gptoss"}
