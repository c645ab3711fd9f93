"""Trials of prompting methods: who plays again, with which memory, in which world, and by which chance."""

import re
from functools import partial

import pytest
from alfworld_games import PUT, walkthrough, worded
from chat_templates import bpe_tokenizer
from rooms import SPEC, task
from talking_policy import TalkingSampler, TalkingSession, searcher

from sg_pipeline.agents.format import AgentFormat
from sg_pipeline.agents.prompts import load_prompts
from sg_pipeline.agents.reflexion import ReflectionFormat
from sg_pipeline.config.environment import PoolConfig
from sg_pipeline.config.loader import section
from sg_pipeline.environments.pool import EnvironmentPool
from sg_pipeline.environments.registry import EnvironmentSpec
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.evaluation.prompting_play import Attempt, next_attempts, play_attempts, reflect
from sg_pipeline.evaluation.prompting_reflections import ReflectionTable, reflections_from_frame, reflections_to_frame
from sg_pipeline.evaluation.prompting_scores import after_trial, compare, score_method
from sg_pipeline.sampling.base import StreamingSession
from sg_pipeline.trajectories.frame import to_frame
from sg_pipeline.trajectories.schema import ValidTable

TOKENIZER = bpe_tokenizer("qwen3")
PROMPTS = load_prompts("reflexion")
WORDS = ReflectionFormat(TOKENIZER, PROMPTS)
CONFIG = section("rollout", group_size=8, max_turns=24, max_new_tokens=120, max_length=8000)
ATTEMPTS = [Attempt(task(f"t{group}"), group, item) for group in range(3) for item in range(2)]


ROOMS = EnvironmentSpec(SPEC)


def play(
    attempts=ATTEMPTS, trial=1, rule=searcher, config=CONFIG, method="reflexion", sampler=None, batch_rows=100,
    environment=ROOMS,
):  # fmt: skip
    prompts = load_prompts(method)
    with EnvironmentPool(environment, PoolConfig(workers=0)) as pool:
        return play_attempts(
            attempts,
            trial,
            config,
            sampler or TalkingSampler(TOKENIZER, rule),
            AgentFormat(TOKENIZER, prompts, guidance=not prompts.plain),
            pool,
            repetitions=2,
            seed=5,
            policy_step=0,
            batch_rows=batch_rows,
        )


def look_back(failed, trial=1, rule=searcher, sampler=None, **keywords):
    limits = {"max_new_tokens": 60, "max_length": 8000, "seed": 5, "batch_rows": 100} | keywords
    return reflect(failed, trial, sampler or TalkingSampler(TOKENIZER, rule), WORDS, **limits)


@pytest.fixture(scope="module")
def first():
    return play()[0]


def test_a_reflection_that_reaches_the_prompt_wins_the_second_trial(first):
    assert not any(trajectory.won for trajectory in first)
    notes = look_back(first)
    assert {note.text for note in notes} == {"Next time take key, then open chest. Nothing else counts."}
    second = play(next_attempts(first, notes, 3, WORDS), 2)[0]
    assert all(trajectory.won for trajectory in second)
    for before, after in zip(first, second, strict=True):
        assert (before.task, before.group, before.item) == (after.task, after.group, after.item)
        opening, shown = after.turns[0].observation, before.turns[0].observation
        assert "Attempt 1: Next time take key, then open chest." in opening
        # The same world: what was learned of the rooms still holds.
        assert opening.endswith(f"from the start:\n\n{shown}")
        assert opening in TOKENIZER.decode(after.turns[0].context_ids)
    # Without the note the same policy loses again.
    assert not any(trajectory.won for trajectory in play([Attempt(a.task, a.group, a.item) for a in ATTEMPTS], 2)[0])


def test_a_sampler_that_answers_in_any_order_plays_the_same_trials(first):
    class Streaming(TalkingSession):
        ready = ()

        def submit(self, row, context, stop_ids, max_new_tokens):
            self.ready = ((row, self.extend([row], [context], stop_ids, max_new_tokens)[0]), *self.ready)

        @property
        def under_way(self):
            return len(self.ready)

        def poll(self):
            finished, self.ready = self.ready[:2], self.ready[2:]  # the last come first
            return list(finished)

    class Sampler:
        def open(self, streams, max_length):
            return Streaming(TOKENIZER, searcher, list(streams), max_length)

    assert isinstance(Sampler().open([], 0), StreamingSession)
    assert play(sampler=Sampler())[0] == first
    again = next_attempts(first, look_back(first), 3, WORDS)
    assert play(again, 2, sampler=Sampler())[0] == play(again, 2)[0]


def test_a_game_counts_as_won_from_its_winning_trial_on(first):
    """Two of six get a useless note after the first trial and a good one after the second."""
    notes = look_back(first)
    late = {("t1", 0), ("t2", 1)}
    first_notes = [n for n in notes if (n.task_id, n.item) not in late]
    second = play(next_attempts(first, first_notes, 3, WORDS), 2)[0]
    failed = [trajectory for trajectory in second if not trajectory.won]
    assert {(trajectory.task.task_id, trajectory.item) for trajectory in failed} == late
    notes_2 = look_back(failed, 2)
    third = play(next_attempts(failed, [*first_notes, *notes_2], 3, WORDS), 3)[0]
    tables = [to_frame(part) for part in (first, second, third)]
    thoughts = [table.select("split", "group", "item", "turn", thought="action") for table in tables]
    reports = [{"policy": "p", "parameters": 1, "counters": {}}] * 3
    tables_of_notes = [reflections_to_frame(part) for part in (first_notes, notes_2)]
    scored = score_method("reflexion", tables, thoughts, reports, tables_of_notes, seed=0)
    splits = [after["splits"]["train"] for after in scored["after_trial"]]
    assert [split["success_rate"] for split in splits] == [0.0, 4 / 6, 1.0]
    assert [split["episodes"] for split in splits] == [6, 6, 6]
    assert [split["cost"]["trials"] for split in splits] == [1.0, 2.0, 2.0 + 2 / 6]
    turns = [sum(len(t.turns) for t in part) for part in (first, second, third)]
    assert [split["cost"]["turns"] for split in splits] == [sum(turns[:k]) / 6 for k in (1, 2, 3)]
    written = [sum(len(turn.completion_ids) for t in part for turn in t.turns) for part in (first, second, third)]
    noted = [sum(len(note.completion_ids) for note in part) for part in (first_notes, notes_2)]
    assert [split["cost"]["sampled_tokens"] for split in splits] == [
        written[0] / 6,
        (sum(written[:2]) + noted[0]) / 6,
        (sum(written) + sum(noted)) / 6,
    ]
    assert splits[2]["per_game"] == {"t0": [2, 2], "t1": [2, 2], "t2": [2, 2]}
    assert splits[2]["mean_turns"] == pytest.approx(sum(len(t.turns) for t in [*second, *third] if t.won) / 6)
    compared = compare([scored], {"run": "r"}, seed=0)
    assert [row["single_trial"] for row in compared["rows"]] == [True, False, False]
    assert compared["reference"] is None


def test_after_trial_keeps_the_last_episode_of_each_game(first):
    second = play(next_attempts(first[:2], look_back(first[:2]), 3, WORDS), 2)[0]
    table = after_trial([to_frame(first), to_frame(second)], 2)
    assert table.columns == to_frame(first).columns
    ValidTable.validate(table)
    assert table.filter(group=0)["won"].all()
    assert not table.filter(group=1)["won"].any()
    assert after_trial([to_frame(first), to_frame(second)], 1).equals(to_frame(first))


def test_only_the_latest_reflections_are_shown(first):
    notes = [note for trial in (1, 2, 3) for note in look_back(first[:1], trial, lambda *_: "note of a trial")]
    (attempt,) = next_attempts(first[:1], notes, 2, WORDS)
    assert "Attempt 2: note of a trial\nAttempt 3: note of a trial" in attempt.memory
    assert "Attempt 1" not in attempt.memory
    (shown,) = play([attempt], 4)[0]
    (note,) = look_back([shown], 4)
    assert "Attempt 3: note of a trial" in TOKENIZER.decode(note.prompt_ids)  # a later note knows the earlier ones


def test_methods_share_their_chance_and_trials_do_not():
    def numbers(trajectories):
        return [
            TOKENIZER.decode(turn.completion_ids).partition(" with ")[2][:5]
            for t in trajectories
            for turn in t.turns[:3]
        ]

    react, reflexion = play(method="react")[0], play(method="reflexion")[0]
    assert react == reflexion
    assert numbers(play(method="reflact")[0]) == numbers(react)
    assert numbers(play(trial=2)[0]) != numbers(react)
    assert len(set(numbers(react))) > 6  # no two episodes have the same
    # Who else plays, and in which batches, is nothing to an episode.
    assert play(ATTEMPTS[3:], batch_rows=2)[0] == react[3:]


def test_reflections_have_their_own_chance_and_survive_the_disk(first):
    def rule(text, chance):
        return f"{chance:.6f}"

    notes = look_back(first, rule=rule)
    assert notes == look_back(first, rule=rule, batch_rows=1)
    assert len({note.text for note in (*notes, *look_back(first, 2, rule))}) == 12
    table = reflections_to_frame(notes)
    ReflectionTable.validate(table)
    ReflectionTable.validate(reflections_to_frame([]))
    assert reflections_from_frame(table, reflections_to_frame([])) == notes
    cut = look_back(first[:1], max_new_tokens=3)[0]
    assert (cut.stopped, len(cut.completion_ids)) == (False, 3)


def test_tokens_are_what_the_sampler_saw(first):
    sampler = TalkingSampler(TOKENIZER, searcher)
    notes = look_back(first, sampler=sampler)
    (session,) = sampler.sessions
    assert [[*note.prompt_ids, *note.completion_ids] for note in notes] == session.sequences
    trajectories = play(sampler=sampler)[0]
    for row, trajectory in enumerate(trajectories):
        assert [token for token, _, _ in trajectory.tokens()] == sampler.sessions[1].sequences[row]


def test_long_thoughts_run_into_the_token_budget():
    def rambling(text, chance):
        return searcher(text, chance).replace("I am at", "I am " + "still " * 15 + "at")

    trajectories, counters = play(rule=rambling, config=CONFIG.model_copy(update={"max_length": 4000}))
    assert counters["truncated_by_tokens"] == len(ATTEMPTS)
    assert all(trajectory.truncated and len(trajectory.turns) < 24 for trajectory in trajectories)


def test_memory_that_does_not_fit():
    attempts = [Attempt(task("t0"), 0, 0, memory="x" * 5000)]
    with pytest.raises(ConfigurationError, match="max_length is 4000, but the opening of task t0 takes"):
        play(attempts, 2, config=CONFIG.model_copy(update={"max_length": 4000}))
    with pytest.raises(
        ConfigurationError, match=r"prompting.reflexion.max_new_tokens is 60, but rollout.max_length = 50"
    ):
        look_back([], max_length=50)


def test_nothing_left_to_try_again():
    assert next_attempts([], [], 3, WORDS) == []
    assert play([], 2)[0] == []
    assert look_back([]) == []


def test_self_guidance_keeps_its_verdicts_beside_the_thoughts():
    def guided(rule, text, chance):
        return f"<guidance>{'positive' if chance < 0.5 else 'negative'}: find the key</guidance>{rule(text, chance)}"

    trajectories = play(rule=partial(guided, searcher), method="react_self_guide")[0]
    turns = [turn for trajectory in trajectories for turn in trajectory.turns]
    assert {turn.polarity.value for turn in turns} == {"positive", "negative"}
    assert all(turn.guidance_parsed and turn.action_parsed for turn in turns)
    assert all(set(turn.segments) == {1, 2} for turn in turns)


@pytest.mark.parametrize("method", ["react", "react_self_guide", "reflexion", "reflact"])
def test_prompts_of_a_split_of_mixed_versions_list_each_games_own_forms(tmp_path, method):
    tasks = [worded(tmp_path, version) for version in PUT]
    commands = walkthrough(tmp_path, tasks[0])

    def reader(text, chance):
        """Win in the words of the prompt."""
        (form,) = re.findall(r"(?:put|move|lay) \(object\)[^|\n]*\(receptacle\)", text)
        command = commands[text.count("<|im_start|>assistant") - 1]
        put = re.fullmatch("move (.*) to (.*)", command)
        if put:
            command = form.replace("(object)", put[1]).replace("(receptacle)", put[2])
        return f"<guidance>neutral: go on</guidance><action>{command}</action>"

    attempts = [Attempt(task, group, 0, memory="Attempt 1: nothing.") for group, task in enumerate(tasks)]
    games = EnvironmentSpec("alfworld", {"data_root": str(tmp_path)})
    trajectories, counters = play(attempts, 2, reader, method=method, environment=games)
    assert [trajectory.won for trajectory in trajectories] == [True] * len(PUT)
    assert counters["invalid_actions"] == 0
    for trajectory, put in zip(trajectories, PUT.values(), strict=True):
        opening = TOKENIZER.decode(trajectory.turns[0].context_ids)
        assert "{commands}" not in opening
        listed = [form for form in PUT.values() if form.format(o="(object)", r="(receptacle)") in opening]
        assert listed == [put]
