"""Reasoning models: only what follows the last closed block counts."""

import pytest
from chat_templates import MULLING, R1, bpe_tokenizer, real_tokenizer

from sg_pipeline.agents.format import AgentFormat
from sg_pipeline.agents.handover import GuidedFormat
from sg_pipeline.agents.prompts import Prompts, load_prompts
from sg_pipeline.agents.reflexion import reflection_prompts
from sg_pipeline.trajectories.types import Polarity, Segment

PROMPTS = Prompts("short", "Guide, then act.", "Act.")
PLAIN, INSIDE, OWN = (bpe_tokenizer("qwen3", chat_template=template) for template in (None, R1, MULLING))
DRAFT = "maybe <guidance>negative: no</guidance><action>wait</action>"
ANSWER = "<guidance>positive: on</guidance><action>look</action>"
FAMILIES = [
    ("<think>", "</think>"),
    ("<seed:think>", "</seed:think>"),
    ("<thinking>", "</thinking>"),
    ("<reasoning>", "</reasoning>"),
    ("[THINK]", "[/THINK]"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|channel>thought\n", "<channel|>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ("◁think▷", "◁/think▷"),
]


def parsed(tokenizer, text, guidance=True, prompts=PROMPTS):
    agent_format = AgentFormat(tokenizer, prompts, guidance)
    turn = agent_format.parse([*tokenizer.encode(text), agent_format.stop_ids[0]])
    return turn.action, turn.action_parsed, turn.polarity, turn.guidance_parsed


NOTHING = ("", False, Polarity.NEUTRAL, False)
DONE = ("look", True, Polarity.POSITIVE, True)


@pytest.mark.parametrize(("opening", "closing"), [*FAMILIES, ("<mull>", "</mull>")])
def test_parse_draft_is_not_played(opening, closing):
    tokenizer = OWN if opening == "<mull>" else PLAIN
    assert parsed(tokenizer, f"{opening}{DRAFT}{closing}{ANSWER}") == DONE
    assert parsed(tokenizer, f"{DRAFT}{closing}\n\n{ANSWER}") == DONE
    assert parsed(tokenizer, f"{opening}{DRAFT}{closing}") == NOTHING
    assert parsed(tokenizer, f"{opening}{DRAFT}") == NOTHING
    assert parsed(tokenizer, f"{opening}look") == NOTHING
    assert parsed(tokenizer, f"{ANSWER}{opening}{DRAFT}") == DONE
    assert parsed(tokenizer, f"{opening}a{closing}{DRAFT}{opening}{DRAFT}{closing}{ANSWER}") == DONE
    plain = parsed(tokenizer, f"{opening}{DRAFT}{closing}{ANSWER}", guidance=False)
    assert plain == ("look", True, None, False)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (f"{DRAFT}</think>{ANSWER}", DONE),
        (f"<think>{DRAFT}</think>{ANSWER}", DONE),
        (ANSWER, NOTHING),
        ("look", NOTHING),
        (f"{DRAFT}</think>", NOTHING),
    ],
)
def test_parse_prompt_inside_a_block_begins_with_reasoning(text, wanted):
    assert parsed(INSIDE, text) == wanted
    reply = AgentFormat(INSIDE, PROMPTS, True).encode_reply(Polarity.NEUTRAL, "x", "look")
    assert "</think>" in INSIDE.decode(reply)


def test_parse_prompt_with_a_closed_block_begins_with_the_answer():
    """Qwen3's thinking mode is off: its prompt ends behind an empty block."""
    assert INSIDE.decode(AgentFormat(INSIDE, PROMPTS, True).opening("x")).endswith("<think>\n")
    assert PLAIN.decode(AgentFormat(PLAIN, PROMPTS, True).opening("x")).endswith("</think>\n\n")
    assert parsed(PLAIN, ANSWER) == DONE


@pytest.mark.parametrize(
    "before", [f"<think>{DRAFT}</think>", "<thought>x</thought>", "<think>x</think><thought>y</thought>"]
)
def test_parse_reasoning_is_no_guidance_segment(before):
    agent_format = AgentFormat(PLAIN, load_prompts("react_self_guide"), True)
    ids = PLAIN.encode(f"{before}\n{ANSWER}")
    segments = agent_format.parse(ids).segments
    first = next(count for count in range(len(ids)) if len(PLAIN.decode(ids[:count])) >= len(before))
    count = segments.count(Segment.GUIDANCE)
    assert segments == [Segment.ACTION] * first + [Segment.GUIDANCE] * count + [Segment.ACTION] * (
        len(ids) - first - count
    )
    assert "<guidance>positive: on</guidance" in PLAIN.decode(ids[first : first + count])
    assert set(agent_format.parse(PLAIN.encode(f"<think>{ANSWER}")).segments) == {int(Segment.ACTION)}


def test_parse_thought_in_a_reasoning_tag_is_recorded_and_not_played():
    prompts = Prompts("own", plain="Think, then act.", thought="think")
    agent_format = AgentFormat(PLAIN, prompts, False)
    turn = agent_format.parse(PLAIN.encode("<think>or <action>wait</action></think><action>look</action>"))
    assert (turn.thought, turn.action) == ("or <action>wait</action>", "look")


def test_handover_of_a_reasoning_guide_is_after_its_answer():
    agent_format = GuidedFormat(PLAIN, PROMPTS)
    guides = PLAIN.encode(f"<think>{DRAFT}</think><guidance>positive: on</guidance>")
    ids = [*guides, *PLAIN.encode(" <action>look</action>")]
    assert agent_format.handover.length(ids) == len(guides)
    assert agent_format.parse(ids).segments.count(Segment.GUIDANCE) == len(guides)
    verdict = PLAIN.decode(ids[: agent_format.handover.verdict_length(ids)])
    assert verdict.startswith(f"<think>{DRAFT}</think><guidance>positive")


def test_answer_text_has_no_reasoning():
    words = AgentFormat(PLAIN, reflection_prompts(load_prompts("reflexion")), False)
    ids = [*PLAIN.encode("<think>hm\nhm</think>\nLook\nfirst."), *words.stop_ids]
    assert words.answer_text(ids) == "Look first."
    assert words.answer_text(PLAIN.encode("<think>hm")) == ""


def test_stop_ids_do_not_end_a_turn_within_its_reasoning():
    """gpt-oss ends its analysis as the template ends a turn, and its turn with another token."""
    tokenizer = real_tokenizer("gptoss")
    end, own = tokenizer.convert_tokens_to_ids(["<|end|>", "<|return|>"])
    agent_format = AgentFormat(tokenizer, PROMPTS, True, stop_ids=[own])
    assert own in agent_format.stop_ids
    assert end not in agent_format.stop_ids
    whole = f"<|channel|>analysis<|message|>{DRAFT}<|end|><|start|>assistant<|channel|>final<|message|>{ANSWER}"
    ids = [*tokenizer.encode(whole), own]
    turn = agent_format.parse(ids)
    assert (turn.action, turn.polarity) == ("look", Polarity.POSITIVE)
    assert agent_format.following(ids, "x")[0] == end
