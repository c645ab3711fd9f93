"""Where the guidance ends, whatever the tags are made of."""

import pytest
from chat_templates import bpe_tokenizer

from sg_pipeline.agents.handover import GuidedFormat, Handover
from sg_pipeline.agents.prompts import Prompts
from sg_pipeline.environments.alfworld.vocabulary import alfworld_vocabulary
from sg_pipeline.policies.tokenizer import build_tokenizer
from sg_pipeline.trajectories.types import Segment

TOKENIZERS = {"tiny": build_tokenizer(alfworld_vocabulary()), "bpe": bpe_tokenizer()}


def ids_of(tokenizer, text):
    return tokenizer.encode(text, add_special_tokens=False)


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("<guidance>positive: take mug 1</guidance><action>go to shelf 1</action>", "</guidance>"),
        ("<guidance>positive: take mug 1</guidance> \n <action>go to shelf 1</action>", "</guidance>"),
        ("<guidance>positive: take mug 1 <action>go to shelf 1</guidance></action>", "<action>"),
        ("<action>go to shelf 1</action>", "<action>"),
        ("<guidance>a</guidance><guidance>b</guidance><action>look</action>", "</guidance>"),
        ("<guidance>naïve ☕ > </guidance><action>look</action>", "</guidance>"),
    ],
)
def test_handover_length_is_the_shortest_that_holds_the_tag(name, text, tag):
    tokenizer = TOKENIZERS[name]
    ids = ids_of(tokenizer, text)
    length = Handover(tokenizer).length(ids)
    assert tag in tokenizer.decode(ids[:length])
    assert tag not in tokenizer.decode(ids[: length - 1])
    assert length < len(ids)


def test_handover_tags_merged_with_their_neighbours_end_guidance():
    tokenizer = TOKENIZERS["bpe"]
    tokens = [ids_of(tokenizer, part)[0] for part in ("x", "</")]
    assert len(ids_of(tokenizer, "</guidance>")) > 2, "or this test means nothing"
    merged = next(token for text, token in TOKENIZERS["tiny"].get_vocab().items() if text == "</guidance><action>")
    assert Handover(TOKENIZERS["tiny"])([merged])
    tokenizer = bpe_tokenizer()
    tokenizer.add_tokens(["></"])
    ids = [*tokens[:1], *ids_of(tokenizer, "</guidance"), *ids_of(tokenizer, "></"), *ids_of(tokenizer, "x")]
    assert Handover(tokenizer).length(ids) == len(ids) - 1


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("text", ["<guidance>positive: take mug 1", "hm", "<guidance>neutral: x</action>", ""])
def test_handover_turn_without_an_end_is_all_guidance(name, text):
    ids = ids_of(TOKENIZERS[name], text)
    assert Handover(TOKENIZERS[name]).length(ids) == len(ids)


def test_guided_format_segments_are_who_wrote_a_token():
    tokenizer = TOKENIZERS["bpe"]
    form = GuidedFormat(tokenizer, Prompts("short", "Guide, then act.", "Act."))
    apart = ids_of(tokenizer, "<guidance>positive: x</guidance>"), ids_of(tokenizer, "\n<action>look</action>")
    parsed = form.parse([*apart[0], *apart[1], *form.stop_ids])
    assert parsed.segments == [int(Segment.GUIDANCE)] * len(apart[0]) + [int(Segment.ACTION)] * (len(apart[1]) + 1)
    assert (parsed.action, parsed.guidance, parsed.action_parsed) == ("look", "positive: x", True)
    # The guide ended the turn: the parser reads its words as an action, but they are not the policy's.
    parsed = form.parse([*ids_of(tokenizer, "go to shelf 1"), *form.stop_ids])
    assert (parsed.action, parsed.action_parsed) == ("go to shelf 1", False)
    assert set(parsed.segments) == {int(Segment.GUIDANCE)}
