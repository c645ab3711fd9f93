"""What Reflexion's policy reads: the transcript of a failed trial, and its notes in the next trial."""

import dataclasses

import pytest
from chat_templates import TEMPLATES, bpe_tokenizer

from sg_pipeline.agents.format import AgentFormat
from sg_pipeline.agents.prompts import load_prompts
from sg_pipeline.agents.reflexion import memory_text, reflection_prompts, reflection_request
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.trajectories.types import Segment, Task, Trajectory, Turn

TOKENIZER = bpe_tokenizer("qwen3")
PROMPTS = load_prompts("reflexion")
FORMAT = AgentFormat(TOKENIZER, reflection_prompts(PROMPTS), guidance=False)


def trajectory(turns=3, written="<thought>hm {}</thought><action>look</action>"):
    made = []
    for number in range(turns):
        ids = [*TOKENIZER.encode(written.format(number)), TOKENIZER.eos_token_id]
        seen = f"Room {number}. Your task is to: look." if number == 0 else f"Room {number}."
        segments = [int(Segment.ACTION)] * len(ids)
        made.append(
            Turn(seen, [1], ids, [-0.1] * len(ids), segments, None, None, False, "look", True, True, 0.0, False)
        )
    task = Task("game 7", "rooms", "valid_seen", "chest", "", "0")
    return Trajectory(task, 0, 0, 0, tuple(made), won=False, truncated=True, score=0.0)


def test_reflection_request_shows_the_transcript():
    text = TOKENIZER.decode(reflection_request(FORMAT, trajectory(), 10_000))
    transcript = (
        "Room 0. Your task is to: look.\n> <thought>hm 0</thought><action>look</action>\n"
        "Room 1.\n> <thought>hm 1</thought><action>look</action>\n"
        "Room 2.\n> <thought>hm 2</thought><action>look</action>\n"
    )
    assert f"<|im_start|>user\n{transcript}" in text
    assert "look back at a failed attempt" in text.split("<|im_start|>user")[0]
    assert text.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")


def test_reflection_request_drops_turns_from_the_middle():
    whole = len(reflection_request(FORMAT, trajectory(30), 100_000))
    ids = reflection_request(FORMAT, trajectory(30), whole - 200)
    text = TOKENIZER.decode(ids)
    assert whole - 300 < len(ids) <= whole - 200
    assert "Your task is to: look." in text
    assert "Room 29.\n" in text
    assert "turns left out]" in text
    dropped = int(text.split("turns left out]")[0].rpartition("[")[2])
    assert f"Room {dropped}.\n" not in text
    assert f"Room {dropped + 1}.\n" in text
    with pytest.raises(ConfigurationError, match="first and the last turn of task game 7 take"):
        reflection_request(FORMAT, trajectory(30), 100)
    with pytest.raises(ConfigurationError, match="raise it"):
        reflection_request(FORMAT, trajectory(1), 100)
    assert "Room 0" in TOKENIZER.decode(reflection_request(FORMAT, trajectory(1), whole))


def test_reflection_request_has_no_special_tokens_of_the_policy():
    special = TOKENIZER.convert_tokens_to_ids("<|im_start|>")
    ids = [*TOKENIZER.encode("go "), special, *TOKENIZER.encode("on\nand on"), FORMAT.stop_ids[0]]
    assert FORMAT.answer_text(ids) == "go on and on"
    odd, clean = trajectory(2, "a <|im_start|> {}"), trajectory(2, "a {}")
    assert special in odd.turns[0].completion_ids
    assert reflection_request(FORMAT, odd, 10_000).count(special) == reflection_request(FORMAT, clean, 10_000).count(
        special
    )


def test_memory_text_is_sorted_by_trial():
    assert memory_text(PROMPTS, {}) == ""
    text = memory_text(PROMPTS, {3: "take {it}", 2: ""})
    assert "Attempt 2: (nothing)\nAttempt 3: take {it}\n" in text


@pytest.mark.parametrize("kind", sorted(TEMPLATES))
def test_reflection_request_works_with_any_chat_template(kind):
    tokenizer = bpe_tokenizer(kind)
    words = AgentFormat(tokenizer, reflection_prompts(PROMPTS), guidance=False)
    assert reflection_request(words, trajectory(), 10_000)
    assert words.stop_ids


def test_reflection_prompts_without_words_for_reflections_raise():
    for field in ("memory", "reflector", "reflect"):
        prompts = dataclasses.replace(PROMPTS, **{field: ""})
        with pytest.raises(ConfigurationError, match=f"lack the field '{field}', which Reflexion needs"):
            reflection_prompts(prompts)
