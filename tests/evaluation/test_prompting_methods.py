"""Trials of prompting methods: who plays again, with which memory, in which world, and with which random stream."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
from chat_templates import bpe_tokenizer
from rooms import SPEC, task
from talking_policy import TalkingSampler, searcher

from sg_pipeline.agents.format import AgentFormat
from sg_pipeline.agents.prompts import load_prompts
from sg_pipeline.config.environment import PoolConfig
from sg_pipeline.config.loader import section
from sg_pipeline.environments.pool import EnvironmentPool
from sg_pipeline.environments.registry import EnvironmentSpec
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.evaluation.prompting import next_attempts, play_trial, reflect, thoughts_table, with_prompts
from sg_pipeline.evaluation.prompting_scores import compare, score_method
from sg_pipeline.evaluation.tables import ReflectionTable
from sg_pipeline.rollouts import play as module
from sg_pipeline.rollouts.collect import Attempt
from sg_pipeline.rollouts.play import Player
from sg_pipeline.trajectories.frame import from_frame

TOKENIZER = bpe_tokenizer("qwen3")
PROMPTS = load_prompts("reflexion")
POLICY = SimpleNamespace(tokenizer=TOKENIZER, stop_ids=(), step=0, name="p", parameter_count=lambda: 1)
CONFIG = section("rollout", max_turns=24, max_length=8000)
ATTEMPTS = [Attempt(task(f"t{group}"), group, item) for group in range(3) for item in range(2)]


@pytest.fixture(autouse=True, scope="module")
def rooms():
    """Play `rooms.SPEC`, an environment without a benchmark; other specifications by `play(spec=…)`."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "load_benchmark", lambda _: SimpleNamespace(name=""))
        yield


def player(method, sampler, max_length, batch_rows):
    class TalkingPlayer(Player):
        def sampler(self):
            return sampler

    config = CONFIG.model_copy(update={"max_length": max_length})
    plain = TalkingPlayer(POLICY, section("environment"), config, Path(), Path(), 5, section("sampling"))
    evaluation = section("evaluate", episodes_per_game=2, batch_rows=batch_rows)
    return with_prompts(plain, method, section("prompting", max_new_tokens=120), evaluation)


def play(attempts=ATTEMPTS, trial=1, rule=searcher, method="reflexion", sampler=None, spec=SPEC, max_length=8000,
         batch_rows=100):  # fmt: skip
    """Return the trial's table, thoughts and counters."""
    spec = EnvironmentSpec(spec) if isinstance(spec, str) else spec
    sampler = sampler or TalkingSampler(TOKENIZER, rule)
    with EnvironmentPool(spec, PoolConfig(workers=0)) as pool, pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "open_pool", lambda *_: pool)
        table, thoughts, report = play_trial(player(method, sampler, max_length, batch_rows), attempts, trial)
    return table, thoughts, report["counters"]


def look_back(failed, trial=1, rule=searcher, sampler=None, max_new_tokens=60, max_length=8000, batch_rows=100):
    prompting = section("prompting", reflexion={"max_new_tokens": max_new_tokens})
    sampler = sampler or TalkingSampler(TOKENIZER, rule)
    return reflect(player("reflexion", sampler, max_length, batch_rows), failed, trial, prompting)


def again(played, *notes, memory=3):
    return next_attempts(played, notes, PROMPTS, memory)


@pytest.fixture(scope="module")
def first():
    return play()[0]


@pytest.fixture(scope="module")
def notes(first):
    return look_back(first)


def test_reflection_in_the_prompt_solves_the_second_trial(first, notes):
    assert not first["won"].any()
    assert set(notes["text"]) == {"Next time take key, then open chest. Nothing else counts."}
    second = play(again(first, notes), 2)[0]
    assert second["won"].all()
    for before, after in zip(from_frame(first), from_frame(second), strict=True):
        assert (before.task, before.group, before.item) == (after.task, after.group, after.item)
        opening, shown = after.turns[0].observation, before.turns[0].observation
        assert "Attempt 1: Next time take key, then open chest." in opening
        # The same world: what was learned about the rooms stays true.
        assert opening.endswith(f"from the start:\n\n{shown}")
        assert opening in TOKENIZER.decode(after.turns[0].context_ids)
    # Without the note the same policy fails again.
    assert not play(ATTEMPTS, 2)[0]["won"].any()


def test_solved_game_counts_from_its_trial_on_with_all_costs(first, notes):
    """Two of six get no note after the first trial and a good one after the second."""
    late = (pl.col("task_id") == "t1") & (pl.col("item") == 0) | (pl.col("task_id") == "t2") & (pl.col("item") == 1)
    early_notes = notes.filter(~late)
    second, second_thoughts, _ = play(again(first, early_notes), 2)
    assert second.filter(~pl.col("won")).equals(second.filter(late))
    late_notes = look_back(second, 2)
    assert late_notes.height == 2
    third, third_thoughts, _ = play(again(second, early_notes, late_notes), 3)
    tables, written_notes = [first, second, third], [early_notes, late_notes]
    thoughts = [thoughts_table(first, AgentFormat(TOKENIZER, PROMPTS, False)), second_thoughts, third_thoughts]
    scored = score_method(
        "reflexion", tables, thoughts, [{"policy": "p", "parameters": 1, "counters": {}}] * 3, written_notes, seed=0
    )
    splits = [after["splits"]["train"] for after in scored["after_trial"]]
    assert [split["success_rate"] for split in splits] == [0.0, 4 / 6, 1.0]
    assert [split["episodes"] for split in splits] == [6, 6, 6]
    assert [split["cost"]["trials"] for split in splits] == [1.0, 2.0, 2.0 + 2 / 6]
    assert [split["cost"]["no_thought_share"] for split in splits] == [0.0] * 3
    turns = [table.height for table in tables]
    assert [split["cost"]["turns"] for split in splits] == [sum(turns[:k]) / 6 for k in (1, 2, 3)]
    written, noted = ([table["completion_ids"].list.len().sum() for table in part] for part in (tables, written_notes))
    assert [split["cost"]["sampled_tokens"] for split in splits] == [
        written[0] / 6,
        (sum(written[:2]) + noted[0]) / 6,
        (sum(written) + sum(noted)) / 6,
    ]
    read = sum(table["context_ids"].list.len().sum() for table in tables)
    asked = sum(table["prompt_ids"].list.len().sum() for table in written_notes)
    assert splits[2]["cost"]["context_tokens"] == (read + asked) / 6
    assert splits[2]["per_game"] == {"t0": [2, 2], "t1": [2, 2], "t2": [2, 2]}
    assert splits[2]["mean_turns"] == pytest.approx((second.filter("won").height + third.height) / 6)
    compared = compare([scored], {"run": "r"}, seed=0)
    assert [row["single_trial"] for row in compared["rows"]] == [True, False, False]
    assert compared["reference"] is None


def test_next_attempts_show_only_the_latest_notes(first):
    one = first.filter(group=0, item=0)
    notes = [look_back(one, trial, lambda *_: "note of a trial") for trial in (1, 2, 3)]
    (attempt,) = again(one, *notes, memory=2)
    assert "Attempt 2: note of a trial\nAttempt 3: note of a trial" in attempt.memory
    assert "Attempt 1" not in attempt.memory
    shown = play([attempt], 4)[0]
    request = look_back(shown, 4)["prompt_ids"][0].to_list()
    assert "Attempt 3: note of a trial" in TOKENIZER.decode(request)  # a later note knows the earlier ones


def test_methods_share_their_random_streams_and_trials_do_not(first):
    def numbers(table):
        written = map(TOKENIZER.decode, table.filter(pl.col("turn") < 3)["completion_ids"].to_list())
        return [text.partition(" with ")[2][:5] for text in written]

    react = play(method="react")[0]
    assert react.equals(first)
    assert numbers(play(method="reflact")[0]) == numbers(react)
    assert numbers(play(trial=2)[0]) != numbers(react)
    assert len(set(numbers(react))) > 6  # no two episodes have the same
    # Neither the other attempts nor the batches change an episode.
    sampler = TalkingSampler(TOKENIZER, searcher)
    rest = play(ATTEMPTS[3:], batch_rows=2, sampler=sampler)[0]
    assert [len(session.sequences) for session in sampler.sessions] == [1, 2]  # whole groups
    assert rest.equals(react.filter((pl.col("group") * 2 + pl.col("item")) >= 3))


def test_reflect_has_separate_random_streams(first):
    def rule(text, chance):
        return f"{chance:.6f}"

    sampler = TalkingSampler(TOKENIZER, rule)
    notes = look_back(first, sampler=sampler)
    rows = zip(notes["prompt_ids"].to_list(), notes["completion_ids"].to_list(), strict=True)
    assert [[*prompt, *completion] for prompt, completion in rows] == sampler.sessions[0].sequences
    assert notes.equals(look_back(first, rule=rule, batch_rows=1))
    assert pl.concat([notes, look_back(first, 2, rule)])["text"].n_unique() == 12
    ReflectionTable.validate(notes)
    ReflectionTable.validate(look_back(first.clear()))
    cut = look_back(first.filter(group=0, item=0), max_new_tokens=3)
    assert (cut["stopped"].item(), len(cut["completion_ids"][0])) == (False, 3)


def test_note_that_does_not_fit_raises(first):
    with pytest.raises(
        ConfigurationError, match=r"prompting.reflexion.max_new_tokens is 60, but rollout.max_length = 50"
    ):
        look_back(first, max_length=50)


def test_trial_without_attempts_is_empty(first):
    assert again(first.clear()) == []
    assert play([], 2)[0].is_empty()
    assert look_back(first.clear()).is_empty()


def test_self_guidance_keeps_its_verdicts_next_to_the_thoughts():
    def guided(rule, text, chance):
        written = rule(text, chance)
        if chance < 0.5:  # without a thought
            return f"<guidance>positive: find the key</guidance>{written.partition('</thought>')[2]}"
        return f"<guidance>negative: find the key</guidance>{written}"

    table, thoughts, _ = play(rule=partial(guided, searcher), method="react_self_guide")
    assert set(table["polarity"]) == {"positive", "negative"}
    assert table["guidance_parsed"].all()
    assert table["action_parsed"].all()
    assert all(set(segments) == {1, 2} for segments in table["segments"])
    found = thoughts["thought"].str.starts_with("I am at")
    assert found.fill_null(False).equals(table["polarity"] == "negative", check_names=False)
