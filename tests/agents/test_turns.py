"""What the text of a completion says: guidance, thoughts and actions in any order, cut, nested or missing."""

import pytest
from chat_templates import bpe_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

from sg_pipeline.agents.chat import Reasoning
from sg_pipeline.agents.format import AgentFormat
from sg_pipeline.agents.prompts import load_prompts
from sg_pipeline.agents.turns import RAW_ACTION_CHARACTERS, TurnParser, find_thoughts
from sg_pipeline.trajectories.types import Polarity, Segment

TOKENIZER = bpe_tokenizer("qwen3")
GUIDED, REACT, REFLACT, BOTH = (
    TurnParser(thought, guidance, Reasoning())
    for thought, guidance in (("", True), ("thought", False), ("reflection", False), ("thought", True))
)
LOOK, HM, ON, X = (
    "<action>look</action>",
    "<thought>hm</thought>",
    "<guidance>positive: on</guidance>",
    "<guidance>positive: x</guidance>",
)


GUIDANCE_CASES = [
    # text, guidance, polarity (None: not parsed), action, action_parsed
    (f"{X}{LOOK}", "positive: x", "positive", "look", True),
    (f" <guidance> NEGATIVE - no </guidance>\n{LOOK} ", "NEGATIVE - no", "negative", "look", True),
    (f"<guidance>neutral</guidance>{LOOK}", "neutral", "neutral", "look", True),
    (f"<guidance>positively: x</guidance>{LOOK}", "positively: x", None, "look", True),
    (f"<guidance>take it</guidance>{LOOK}", "take it", None, "look", True),
    (f"<guidance></guidance>{LOOK}", "", None, "look", True),
    (LOOK, None, None, "look", True),
    (f"{LOOK}{X}", None, None, "look", True),
    (f"<guidance>positive: x{LOOK}</guidance>", None, None, "look", True),
    (f"<guidance>a{X}{LOOK}", "positive: x", "positive", "look", True),
    (f"{X}<guidance>negative: y</guidance>{LOOK}", "positive: x", "positive", "look", True),
    (f"{X}{LOOK}<action>inventory</action> and more", "positive: x", "positive", "look", True),
    (f"{X}<action></action>", "positive: x", "positive", "<action></action>", False),
    (f"{X}go to\nshelf 2", "positive: x", "positive", "go to shelf 2", False),
    (f"{X}<action>go to", "positive: x", "positive", "<action>go to", False),
    ("<guidance>positive: x", None, None, "<guidance>positive: x", False),
    ("go to shelf 2", None, None, "go to shelf 2", False),
    ("", None, None, "", False),
    (f"<action>a{LOOK}", None, None, "look", True),
    ("<action>go to\n  shelf 2</action>", None, None, "go to shelf 2", True),
]


@pytest.mark.parametrize("case", GUIDANCE_CASES, ids=lambda case: case[0])
def test_parse_guidance(case):
    text, guidance, polarity, action, action_parsed = case
    turn, _, _ = GUIDED.parse(text)
    assert (turn.guidance, turn.polarity) == (guidance, Polarity(polarity or "neutral"))
    assert turn.guidance_parsed == (polarity is not None)
    assert (turn.action, turn.action_parsed, turn.thought) == (action, action_parsed, None)


THOUGHT_CASES = [
    # text, thought, action, action_parsed
    (f" <thought> a\n b </thought>\n{LOOK} ", "a b", "look", True),
    (LOOK, None, "look", True),
    (f"<thought></thought>{LOOK}", "", "look", True),
    # mentioned, not played
    (f"<thought>not <action>wait</action> now</thought>{LOOK}", "not <action>wait</action> now", "look", True),
    (f"<thought>so {LOOK}</thought>", "so", "look", True),
    (f"<thought>so {LOOK} it is", "so", "look", True),
    # interleaved and nested
    (f"<thought>a</thought><thought>b</thought>{LOOK}", "a b", "look", True),
    (f"<thought>a<thought>b</thought>c</thought>{LOOK}", "a<thought>b", "look", True),
    (f"<thought>a</thought>{LOOK}<thought>b</thought><action>wait</action>", "a", "look", True),
    ("<thought>a <action>b</thought> look</action>", "a <action>b", "look</action>", False),
    (f"<action>take {HM} mug 1</action>", None, f"<action>take {HM} mug 1</action>", False),
    (f"a</thought>{LOOK}", None, "look", True),
    (f"{LOOK}{HM}", None, "look", True),
    # cut
    (f"{HM}<action>go to", "hm", "<action>go to", False),
    (f"{HM}go to shelf 2", "hm", "go to shelf 2", False),
    (HM, "hm", HM, False),
    ("<thought>it goes on", "it goes on", "<thought>it goes on", False),
    ("<thought>a <action>go to", "a", "<action>go to", False),
    (f"{HM}<action></action>", "hm", "<action></action>", False),
    ("<thou", None, "<thou", False),
    ("", None, "", False),
    # another method's tag
    (f"<reflection>a</reflection>{LOOK}", None, "look", True),
]


@pytest.mark.parametrize("case", THOUGHT_CASES, ids=lambda case: case[0])
def test_parse_thoughts(case):
    text, thought, action, action_parsed = case
    turn, _, end = REACT.parse(text)
    assert (turn.thought, turn.action, turn.action_parsed) == (thought, action, action_parsed)
    assert (turn.guidance, turn.polarity, turn.guidance_parsed, end) == (None, None, False, 0)


def test_parse_reflact_has_its_own_tag():
    turn, _, _ = REFLACT.parse(f"<reflection>at shelf 2, {HM}</reflection>{LOOK}")
    assert (turn.thought, turn.action) == (f"at shelf 2, {HM}", "look")


def test_find_thoughts_returns_their_spans():
    text = "x<thought>a</thought>y<thought>b"
    spans = [text[span.start : span.end] for span in find_thoughts(text, "thought")]
    assert spans == ["<thought>a</thought>", "<thought>b"]


SEGMENT_CASES = [
    # text, polarity (None: not parsed), thought, action (None: not parsed), text of the guidance segment
    (f"{ON}{HM}{LOOK}", "positive", "hm", "look", ON),
    (f"{HM}{ON}{LOOK}", "positive", "hm", "look", ON),
    (f"{HM}{LOOK}", None, "hm", "look", ""),
    (f"{HM}{LOOK}{ON}", None, "hm", "look", ""),
    (f"<guidance>positive: {HM}</guidance>{LOOK}", None, "hm", "look", "<guidance>positive: "),
    (f"<guidance>positive: on{HM}{LOOK}", None, "hm", "look", "<guidance>positive: on"),
    (f"{ON}<thought>hm", "positive", "hm", None, ON),
    (f"{ON}{LOOK}", "positive", None, "look", ON),
    ("go to shelf 2", None, None, None, ""),
    ("<guidance>positive: it goes on", None, None, None, "<guidance>positive: it goes on"),
    (f"hm {LOOK}", None, None, "look", "hm "),
]


@pytest.mark.parametrize("case", SEGMENT_CASES, ids=lambda case: case[0])
def test_parse_guidance_segment_is_the_guidance_alone(case):
    text, polarity, thought, action, guidance = case
    parsed, begin, end = BOTH.parse(text)
    assert text[begin:end] == guidance
    agent_format = AgentFormat(TOKENIZER, load_prompts("react_self_guide"), guidance=True)
    ids = TOKENIZER.encode(text)
    turn = agent_format.parse(ids)
    assert (turn.polarity, turn.guidance_parsed) == (Polarity(polarity or "neutral"), polarity is not None)
    assert (turn.thought, turn.action_parsed) == (thought, action is not None)
    assert action is None or turn.action == parsed.action == action
    size = turn.segments.count(Segment.GUIDANCE)
    first = turn.segments.index(Segment.GUIDANCE) if size else 0
    rest = len(ids) - first - size
    assert turn.segments == [Segment.ACTION] * first + [Segment.GUIDANCE] * size + [Segment.ACTION] * rest
    # A token belongs to where it begins.
    reached = [len(TOKENIZER.decode(ids[:count])) for count in range(len(ids) + 1)]
    for count, character in ((first, begin), (first + size, end)) if size else ():
        assert reached[count] >= character
        assert count == 0 or reached[count - 1] <= character


TAGS = [f"<{end}{tag}>" for tag in ("thought", "guidance", "action") for end in ("", "/")]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from([*TAGS, "positive: ", "look", " a ", "word " * 60, "\n"]), max_size=12))
def test_parse_any_order_of_tags_without_an_error(parts):
    text = "".join(parts)
    for parser in (REACT, GUIDED, BOTH):
        turn, begin, end = parser.parse(text)
        assert 0 <= begin <= len(text)
        assert 0 <= end <= len(text)
        assert (turn.polarity is None) == (parser is REACT)
        assert turn.action_parsed or len(turn.action) <= RAW_ACTION_CHARACTERS
        assert "\n" not in turn.action
        assert turn.thought is None or "\n" not in turn.thought
        if turn.action_parsed:
            assert not any(tag in turn.action for tag in ("<guidance>", "<action>"))
