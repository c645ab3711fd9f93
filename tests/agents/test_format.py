"""Text <-> tokens of a turn, on the tiny tokenizer and on ordinary ones."""

import pytest
from chat_templates import COUNTED, ENDS, INDEXED, LAST_ONLY, NUMBERED, TEMPLATES, bpe_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

from sg_pipeline.agents.format import AgentFormat
from sg_pipeline.agents.prompts import load_prompts
from sg_pipeline.agents.turns import RAW_ACTION_CHARACTERS
from sg_pipeline.environments.alfworld.vocabulary import alfworld_vocabulary
from sg_pipeline.errors import CheckpointError, ConfigurationError
from sg_pipeline.policies.tokenizer import build_tokenizer
from sg_pipeline.trajectories.types import Polarity, Segment

FIRST = "You are in the middle of a room. Looking quickly around you, you see a shelf 2.\n\nYour task is to: look."
FORMS = ("go to (receptacle)", "put (object) in/on (receptacle)")
REPLY = "<guidance>positive: take mug 1</guidance><action>go to shelf 2</action>"
ENVIRONMENT, GUIDANCE, ACTION = (int(segment) for segment in Segment)


def make(kind, guidance=True):
    if kind == "tiny":
        return AgentFormat(TINY, load_prompts("tiny"), guidance), TINY
    return AgentFormat(BPE[kind], load_prompts("self_guide"), guidance), BPE[kind]


TINY = build_tokenizer(alfworld_vocabulary())
BPE = {kind: bpe_tokenizer(kind) for kind in TEMPLATES}
KINDS = ["tiny", *TEMPLATES]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("guidance", [True, False])
def test_parse_reads_an_encoded_reply(kind, guidance):
    format, tokenizer = make(kind, guidance)
    ids = format.encode_reply(Polarity.NEGATIVE if guidance else None, "find mug", "go to shelf 2")
    assert ids[-1] in format.stop_ids
    assert sum(token in format.stop_ids for token in ids) == 1
    turn = format.parse(ids)
    assert (turn.action, turn.action_parsed) == ("go to shelf 2", True)
    assert len(turn.segments) == len(ids)
    if not guidance:
        assert (turn.guidance, turn.polarity, turn.guidance_parsed) == (None, None, False)
        assert set(turn.segments) == {ACTION}
        return
    assert (turn.polarity, turn.guidance_parsed) == (Polarity.NEGATIVE, True)
    assert turn.guidance.replace(":", "") == "negative find mug"
    border = turn.segments.index(ACTION)
    assert turn.segments == [GUIDANCE] * border + [ACTION] * (len(ids) - border)
    assert "find mug" in tokenizer.decode(ids[:border])
    assert "go to shelf 2" in tokenizer.decode(ids[border:])


@pytest.mark.parametrize("kind", KINDS)
def test_contexts_equal_the_rendered_conversation(kind):
    """The context tokens are those that the template itself puts there, for stopped and for cut completions."""
    format, tokenizer = make(kind)
    reply = format.encode_reply(Polarity.POSITIVE, "take mug 1", "go to shelf 2")
    grown = format.opening(FIRST, forms=FORMS) + reply + format.following(reply, "Nothing happens.")
    cut = format.following(reply[:-1], "Nothing happens.")
    # Llama 2 puts a space before the end of a turn; a policy that stopped by itself did not.
    assert cut[int(kind == "llama2") :] == [reply[-1], *format.following(reply, "Nothing happens.")]
    system = load_prompts("tiny" if kind == "tiny" else "self_guide").guided
    system = system.replace("{commands}", "go to (receptacle) | put (object) in/on (receptacle)")
    merged = kind in ("gemma", "mistral")
    messages = [
        *([] if merged else [{"role": "system", "content": system}]),
        {"role": "user", "content": f"{system}\n\n{FIRST}" if merged else FIRST},
        {"role": "assistant", "content": REPLY},
        {"role": "user", "content": "Nothing happens."},
    ]
    whole = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, enable_thinking=False)
    text = tokenizer.decode(grown)
    if kind == "tiny":
        assert tokenizer.encode(whole, add_special_tokens=False) == grown
    elif kind == "qwen3":
        # The template would strip the empty thought of the first turn; what was sampled after it does not change.
        first_prompt = "<|im_start|>assistant\n<think>\n\n</think>\n\n<guidance>"
        assert text.replace(first_prompt, "<|im_start|>assistant\n<guidance>", 1) == whole
        assert text.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    elif kind == "llama2":
        # The space before the answer is part of no prompt: the policy may write it or not.
        assert text.replace("</s>", " </s>") == whole.replace("[/INST] <guidance>", "[/INST]<guidance>")
    elif kind == "mistral":
        assert text == whole.replace("[/INST] <guidance>", "[/INST]<guidance>")
    elif kind == "plain":
        assert text == whole.replace(f"{REPLY}\n", f"{REPLY}</s>\n")
    else:
        assert text == whole


@pytest.mark.parametrize("kind", sorted(TEMPLATES))
def test_stop_ids_are_the_templates_end(kind):
    format, tokenizer = make(kind)
    assert format.stop_ids == (tokenizer.convert_tokens_to_ids(ENDS[kind]),)


def test_stop_ids_include_the_tokenizers_end():
    tokenizer = bpe_tokenizer("qwen3", eos="<|endoftext|>")
    format = AgentFormat(tokenizer, load_prompts("self_guide"), True)
    end, eos = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    assert set(format.stop_ids) == {end, eos}
    assert format.following([5, eos], "x")[0] == end
    assert format.following([5, end], "x")[0] != end
    assert format.parse([*tokenizer.encode(REPLY), eos]).action_parsed


def test_stop_ids_include_the_models_ends():
    format = AgentFormat(BPE["llama3"], load_prompts("self_guide"), True, stop_ids=[0, 7])
    end = BPE["llama3"].convert_tokens_to_ids("<|eot_id|>")
    assert set(format.stop_ids) == {0, 7, end}
    ids = format.encode_reply(Polarity.POSITIVE, "take mug 1", "go to shelf 2")
    assert ids[-1] == end
    for other in (0, 7):
        written = [*ids[:-1], other]
        assert format.following(written, "x") == [end, *format.following(ids, "x")]
        assert format.parse(written).action == "go to shelf 2"


def test_stop_ids_without_template_and_tokenizer_end_are_the_models():
    tokenizer = bpe_tokenizer("plain")
    tokenizer.eos_token = None
    format = AgentFormat(tokenizer, load_prompts("self_guide"), True, stop_ids=[0])
    assert format.stop_ids == (0,)
    assert format.following([5], "x") == [0, *format.following([5, 0], "x")]


@pytest.mark.parametrize("template", [NUMBERED, LAST_ONLY, COUNTED, INDEXED])
def test_format_template_that_rewrites_history_raises(template):
    tokenizer = bpe_tokenizer("qwen3", chat_template=template)
    with pytest.raises(CheckpointError, match="cannot be used for trajectories that only grow"):
        AgentFormat(tokenizer, load_prompts("self_guide"), True)


def test_format_missing_template_or_end_raises():
    with pytest.raises(CheckpointError, match=r"chat template .* is missing"):
        AgentFormat(bpe_tokenizer("qwen3", chat_template=""), load_prompts("self_guide"), True)
    endless = bpe_tokenizer("plain")
    endless.eos_token = None
    with pytest.raises(CheckpointError, match="nothing ends a turn"):
        AgentFormat(endless, load_prompts("self_guide"), True)


WRITTEN = [
    "click[w |  polarizer lens]",
    "click[a1-wine\xa0red]",
    "click[ two  \t tabs ]",
    "click[\u200bzero\u3000width\u2028line]",
    "click[\N{KELVIN SIGN} \N{LATIN CAPITAL LETTER I WITH DOT ABOVE} e\u0301 \N{ANGSTROM SIGN}]",
    'click[<b>5" &amp; < 6"</b>]',
    "click[<|im_end|>]",
    "click[</act><Action>]",
    f"search[{'long words ' * 30}]",
    "Go To Shelf 2 ",
    "[",
]


@pytest.mark.parametrize("action", WRITTEN)
@pytest.mark.parametrize("guidance", [True, False])
def test_parse_action_is_verbatim(action, guidance):
    format, _ = make("qwen3", guidance)
    turn = format.parse(format.encode_reply(Polarity.POSITIVE, "x", f" {action}\n"))
    assert (turn.action, turn.action_parsed) == (action.strip(" "), True)


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r", " \n\n  "])
def test_parse_action_is_on_one_line(line_break):
    format, _ = make("qwen3")
    turn = format.parse(format.encode_reply(Polarity.POSITIVE, "x", f"click[a{line_break}b  c]"))
    assert turn.action == "click[a b  c]"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 399), max_size=40), st.booleans())
def test_parse_any_tokens_without_an_error(ids, guidance):
    for kind in ("qwen3", "tiny"):
        turn = make(kind, guidance)[0].parse(ids)
        assert len(turn.segments) == len(ids)
        assert turn.segments == sorted(turn.segments)
        assert set(turn.segments) <= {GUIDANCE, ACTION}
        assert (turn.polarity is None) == (not guidance)
        assert turn.action_parsed or len(turn.action) <= RAW_ACTION_CHARACTERS
        assert "\n" not in turn.action


def test_contexts_show_admissible_commands():
    format, tokenizer = make("qwen3")
    reply = format.encode_reply(Polarity.NEUTRAL, "x", "look")
    text = tokenizer.decode(format.following(reply, "Nothing happens.", ("look", "go to shelf 2")))
    assert "Nothing happens.\nPossible commands: look, go to shelf 2<|im_end|>" in text
    assert "Possible" not in tokenizer.decode(format.following(reply, "Nothing happens."))
    assert "Possible commands: look" in tokenizer.decode(format.opening(FIRST, ("look",), FORMS))


def test_format_mode_without_a_system_prompt_raises():
    with pytest.raises(ConfigurationError, match="'react' have no system prompt with guidance; set their field"):
        AgentFormat(BPE["qwen3"], load_prompts("react"), guidance=True)


def test_opening_without_forms_for_a_prompt_that_lists_them_raises():
    with pytest.raises(ConfigurationError, match=r"'self_guide' list the forms .* environment names none"):
        make("qwen3")[0].opening(FIRST)
    assert make("tiny")[0].opening(FIRST, forms=FORMS) == make("tiny")[0].opening(FIRST)


def test_encode_reply_without_polarity_raises():
    with pytest.raises(ValueError, match="polarity"):
        make("tiny")[0].encode_reply(None, "x", "look")


def test_encode_reply_of_the_tiny_policy_is_short():
    format, _ = make("tiny")
    assert len(format.encode_reply(Polarity.NEUTRAL, "find mug in cabinet 1", "go to cabinet 1")) == 10
    assert len(format.encode_reply(Polarity.POSITIVE, "take mug 1 from shelf 1", "take mug 1 from shelf 1")) == 12
    assert len(make("tiny", False)[0].encode_reply(None, "", "go to cabinet 1")) == 4
