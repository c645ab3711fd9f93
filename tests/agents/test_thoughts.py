"""Thoughts before the action: found, kept apart from what is played, and recovered from the tokens."""

import pytest
from chat_templates import bpe_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

from sg_pipeline.agents.format import AgentFormat
from sg_pipeline.agents.prompts import load_prompts
from sg_pipeline.agents.turns import RAW_ACTION_CHARACTERS, find_thoughts
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.trajectories.types import Polarity, Segment

TOKENIZER = bpe_tokenizer("qwen3")
REACT = AgentFormat(TOKENIZER, load_prompts("react"), guidance=False)
REFLACT = AgentFormat(TOKENIZER, load_prompts("reflact"), guidance=False)
GUIDED = AgentFormat(TOKENIZER, load_prompts("react_self_guide"), guidance=True)
GUIDANCE, ACTION = int(Segment.GUIDANCE), int(Segment.ACTION)

CASES = [
    # text, thought, action, action_parsed
    ("<thought>a b</thought><action>look</action>", "a b", "look", True),
    (" <thought> a\n b </thought>\n<action> look </action> ", "a b", "look", True),
    ("<action>look</action>", None, "look", True),
    ("<thought></thought><action>look</action>", "", "look", True),
    # talked about and done are two things
    (
        "<thought>not <action>wait</action> now</thought><action>look</action>",
        "not <action>wait</action> now",
        "look",
        True,
    ),
    ("<thought>so <action>look</action></thought>", "so", "look", True),
    ("<thought>so <action>look</action> it is", "so", "look", True),
    # interleaved and nested
    ("<thought>a</thought><thought>b</thought><action>look</action>", "a b", "look", True),
    ("<thought>a<thought>b</thought>c</thought><action>look</action>", "a<thought>b", "look", True),
    ("<thought>a</thought><action>look</action><thought>b</thought><action>wait</action>", "a", "look", True),
    ("<thought>a <action>b</thought> look</action>", "a <action>b", "look</action>", False),
    (
        "<action>take <thought>a</thought> mug 1</action>",
        None,
        "<action>take <thought>a</thought> mug 1</action>",
        False,
    ),
    ("a</thought><action>look</action>", None, "look", True),
    ("<action>look</action><thought>b</thought>", None, "look", True),
    # cut
    ("<thought>a</thought><action>go to", "a", "<action>go to", False),
    ("<thought>a</thought>go to shelf 2", "a", "go to shelf 2", False),
    ("<thought>a</thought>", "a", "<thought>a</thought>", False),
    ("<thought>it goes on", "it goes on", "<thought>it goes on", False),
    ("<thought>a <action>go to", "a", "<action>go to", False),
    ("<thought>a</thought><action></action>", "a", "<action></action>", False),
    ("<thou", None, "<thou", False),
    ("", None, "", False),
    # another method's tag is no thought
    ("<reflection>a</reflection><action>look</action>", None, "look", True),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_completions_with_thoughts(case):
    text, thought, action, action_parsed = case
    ids = TOKENIZER.encode(text)
    for completion in (ids, [*ids, REACT.stop_ids[0]]):
        turn = REACT.parse(completion)
        assert (turn.thought, turn.action, turn.action_parsed) == (thought, action, action_parsed)
        assert (turn.guidance, turn.polarity, turn.guidance_parsed) == (None, None, False)
        assert turn.segments == [ACTION] * len(completion)


def test_reflact_has_a_tag_of_its_own():
    turn = REFLACT.parse(
        TOKENIZER.encode("<reflection>at shelf 2, <thought>hm</thought></reflection><action>look</action>")
    )
    assert (turn.thought, turn.action) == ("at shelf 2, <thought>hm</thought>", "look")


GUIDED_CASES = [
    # text, polarity or None where it was not parsed, thought, action, text of the guidance segment
    (
        "<guidance>negative: back</guidance><thought>hm</thought><action>look</action>",
        "negative",
        "hm",
        "look",
        "<guidance>negative: back</guidance>",
    ),
    (
        "<thought>hm</thought><guidance>positive: on</guidance><action>look</action>",
        "positive",
        "hm",
        "look",
        "<guidance>positive: on</guidance>",
    ),
    ("<thought>hm</thought><action>look</action>", None, "hm", "look", ""),
    ("<thought>hm</thought><action>look</action><guidance>positive: x</guidance>", None, "hm", "look", ""),
    (
        "<guidance>positive: <thought>hm</thought></guidance><action>look</action>",
        None,
        "hm",
        "look",
        "<guidance>positive: ",
    ),
    ("<guidance>positive: on<thought>hm</thought><action>look</action>", None, "hm", "look", "<guidance>positive: on"),
    ("<guidance>positive: on</guidance><thought>hm", "positive", "hm", None, "<guidance>positive: on</guidance>"),
    (
        "<guidance>positive: on</guidance><action>look</action>",
        "positive",
        None,
        "look",
        "<guidance>positive: on</guidance>",
    ),
]


@pytest.mark.parametrize("case", GUIDED_CASES, ids=lambda case: case[0])
def test_guidance_with_thoughts(case):
    """Guidance tokens are the guidance's alone: the thought's count as the action's."""
    text, polarity, thought, action, guidance = case
    ids = TOKENIZER.encode(text)
    turn = GUIDED.parse(ids)
    assert (turn.polarity, turn.guidance_parsed) == (Polarity(polarity or "neutral"), polarity is not None)
    assert (turn.thought, turn.action_parsed) == (thought, action is not None)
    assert action is None or turn.action == action
    size = turn.segments.count(GUIDANCE)
    begin = turn.segments.index(GUIDANCE) if size else 0
    assert turn.segments == [ACTION] * begin + [GUIDANCE] * size + [ACTION] * (len(ids) - begin - size)
    # A token belongs to where it begins.
    reached = [len(TOKENIZER.decode(ids[:count])) for count in range(len(ids) + 1)]
    start = text.index(guidance)
    for count, character in ((begin, start), (begin + size, start + len(guidance))):
        assert reached[count] >= character
        assert count == 0 or reached[count - 1] <= character


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "<thought>",
                "</thought>",
                "<guidance>",
                "</guidance>",
                "<action>",
                "</action>",
                "positive: ",
                "look",
                " a ",
            ]
        ),
        max_size=12,
    )
)
def test_any_order_of_tags_is_parsed_without_an_error(parts):
    ids = TOKENIZER.encode("".join(parts))
    for agent_format in (REACT, GUIDED):
        turn = agent_format.parse(ids)
        assert len(turn.segments) == len(ids)
        guidance = [index for index, segment in enumerate(turn.segments) if segment == GUIDANCE]
        assert guidance == list(range(guidance[0], guidance[-1] + 1)) if guidance else True
        assert (turn.polarity is None) == (agent_format is REACT)
        assert turn.action_parsed or len(turn.action) <= RAW_ACTION_CHARACTERS
        assert (turn.thought is None) or "\n" not in turn.thought
        if turn.action_parsed:
            assert not any(tag in turn.action for tag in ("<thought>", "<guidance>", "<action>"))


def test_spans_are_where_the_thoughts_are():
    text = "x<thought>a</thought>y<thought>b"
    assert [text[span.start : span.end] for span in find_thoughts(text, "thought")] == [
        "<thought>a</thought>",
        "<thought>b",
    ]


def test_a_mode_without_a_system_prompt_is_refused():
    with pytest.raises(
        ConfigurationError, match="prompts 'react' have no system prompt with guidance; set their field"
    ):
        AgentFormat(TOKENIZER, load_prompts("react"), guidance=True)
