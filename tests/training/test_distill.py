"""Distilling a guide: what is read, what is imitated, what is learnt, and that it is the same again."""

import json

import pytest
from learning_tools import same, weights
from rounding import LOGP

from sg_pipeline.agents.format import AgentFormat
from sg_pipeline.agents.handover import GuidedFormat
from sg_pipeline.agents.prompts import load_prompts
from sg_pipeline.config.loader import section
from sg_pipeline.errors import ConfigurationError, DataError
from sg_pipeline.training.distill import distill, encode_guidance, guidance_agreement, read_lessons
from sg_pipeline.trajectories.frame import to_frame
from sg_pipeline.trajectories.types import Polarity, Segment, Task, Trajectory, Turn

GAMES, STEPS = 10, 3


def trajectory(form, step, group, item, won=True, unparsed=False):
    """Three turns of a teacher whose verdict follows from what it sees, and whose sub-goal names the thing."""
    turns, written = [], []
    thing = ("mug 1", "cabinet 1", "shelf 2")[(group + item) % 3]
    for number, polarity in enumerate((Polarity.NEUTRAL, Polarity.POSITIVE, Polarity.NEGATIVE)):
        seen = ("You see a {}.", "You take the {}.", "Nothing happens.")[number].format(thing)
        context = form.following(written, seen) if number else form.opening(seen)
        written = form.encode_reply(polarity, f"find {thing}", f"go to {thing}")
        if unparsed and number == 1:
            written = written[:1] + written[2:]
        parsed = form.parse(written)
        turns.append(
            Turn(
                seen, context, written, [-0.5] * len(written), parsed.segments, parsed.guidance, parsed.polarity,
                parsed.guidance_parsed, parsed.action, parsed.action_parsed, True, float(won and number == 2),
                won and number == 2,
            )
        )  # fmt: skip
    task = Task(f"game {group}", "alfworld", "train", "x", "p", "s")
    return Trajectory(task, group, item, step, tuple(turns), won, not won, float(won))


@pytest.fixture(scope="module")
def form(tokenizer):
    return AgentFormat(tokenizer, load_prompts("tiny"), guidance=True)


@pytest.fixture
def runs(tmp_path, form):
    """A folder of recorded runs: `teacher`, in a group as studies have, with a lost episode in each group."""
    for step in range(STEPS):
        folder = tmp_path / "study" / "teacher" / f"step_{step:03d}"
        folder.mkdir(parents=True)
        episodes = [
            trajectory(form, step, group, item, won=item < 2, unparsed=item == 1)
            for group in range(GAMES)
            for item in range(3)
        ]
        to_frame(episodes).write_parquet(folder / "trajectories.parquet")
    return tmp_path


CONFIG = section(
    "distill", source="study/teacher", steps=2, held_out=0.2, epochs=12, batch_tokens=300, learning_rate=1e-2
)


def test_lessons_are_the_won_episodes_of_the_last_steps_and_some_games_are_set_apart(runs):
    lessons = read_lessons(runs, CONFIG, 0)
    assert (lessons.source, lessons.steps, lessons.recorded) == ("study/teacher", [1, 2], 2 * GAMES * 3)
    assert (len(lessons.training), len(lessons.held_out)) == (8 * 2 * 2, 2 * 2 * 2)
    assert all(one.won for one in lessons.training + lessons.held_out)
    apart = {one.task.task_id for one in lessons.held_out}
    assert not apart & {one.task.task_id for one in lessons.training}
    assert read_lessons(runs, CONFIG, 0) == lessons
    assert {one.task.task_id for one in read_lessons(runs, CONFIG, 1).held_out} != apart
    everything = read_lessons(runs, CONFIG.model_copy(update={"won_only": False, "steps": 9}), 0)
    assert len(everything.training) + len(everything.held_out) == everything.recorded == STEPS * GAMES * 3


def test_only_guidance_with_a_verdict_is_imitated_and_no_token_changes(form):
    one = trajectory(form, 0, 0, 0, unparsed=True)
    example = encode_guidance(one)
    assert example.input_ids == [token for token, _, _ in one.tokens()]
    imitated = [token for token, wanted in zip(example.input_ids, example.loss_mask, strict=True) if wanted]
    guidance = [
        token
        for turn in (one.turns[0], one.turns[2])
        for token, segment in zip(turn.completion_ids, turn.segments, strict=True)
        if segment == Segment.GUIDANCE
    ]
    assert imitated == guidance
    assert not one.turns[1].guidance_parsed


def test_it_learns_what_the_teacher_says_on_other_games(runs, form, make_policy):
    lessons = read_lessons(runs, CONFIG, 0)
    policy = make_policy()
    figures = distill(policy, lessons, form, CONFIG, 0)
    before, after = figures["held_out"]["before"], figures["held_out"]["after"]
    assert before["verdict"] < 0.4
    assert after["verdict"] > 0.9
    assert after["guidance"] > 0.5
    assert after["loss"] < 0.5 * before["loss"]
    assert after["turns"] == sum(turn.guidance_parsed for one in lessons.held_out for turn in one.turns)
    assert sum(label["share"] for label in after["labels"].values()) == pytest.approx(1)
    assert figures["training"]["tokens"] == CONFIG.epochs * sum(len(list(one.tokens())) for one in lessons.training)
    assert (policy.step, policy.optimizer_state, policy.name) == (0, None, "guide of study/teacher")
    json.dumps(figures, allow_nan=False)
    again = make_policy()
    assert distill(again, lessons, form, CONFIG, 0)["trajectories_sha256"] == figures["trajectories_sha256"]
    assert same(weights(policy), weights(again))
    other = make_policy()
    distill(other, lessons, form, CONFIG, 1)
    assert not same(weights(policy), weights(other))


def test_agreement_is_that_of_the_guidance_the_policy_would_write(form, make_policy, tokenizer):
    """Token by token after the teacher's tokens, against greedy sampling of the same turn."""
    from sg_pipeline.randomness import stream
    from sg_pipeline.sampling.transformers_sampler import TransformersSampler

    policy = make_policy()
    lessons = [trajectory(form, 0, group, 0) for group in range(3)]
    handover = GuidedFormat(tokenizer, load_prompts("tiny")).handover
    # A teacher whose first turn is what this policy would write itself, so that some agree and others do not.
    opening = lessons[0].turns[0].context_ids
    session = TransformersSampler(policy.model, temperature=0).open([stream(0, "x")], 200)
    (answer,) = session.extend([0], [opening], form.stop_ids, 12)
    own = Turn(
        "seen", opening, answer.ids, answer.logprobs, [int(Segment.GUIDANCE)] * len(answer.ids), "g",
        Polarity.NEUTRAL, True, "a", True, True, 0.0, True,
    )  # fmt: skip
    itself = Trajectory(lessons[0].task, 9, 0, 0, (own,), True, False, 1.0)
    found = guidance_agreement(policy, [itself], 100)
    assert (found["turns"], found["verdict"], found["guidance"]) == (1, 1.0, 1.0)
    assert found["loss"] == pytest.approx(-sum(answer.logprobs) / len(answer.ids), abs=LOGP)
    both = guidance_agreement(policy, [*lessons, itself], 100)
    assert both["turns"] == 10
    assert both["guidance"] == pytest.approx(0.1)
    assert handover.verdict_length(lessons[0].turns[0].completion_ids) == 2  # <guidance>, neutral
    assert both == guidance_agreement(policy, [*lessons, itself], 10_000) | {"loss": pytest.approx(both["loss"])}


def test_unknown_source_raises_and_names_the_known_ones(runs, tmp_path):
    for source in (None, "teacher"):
        with pytest.raises(ConfigurationError, match=r"must name a run with training trajectories .* study/teacher"):
            read_lessons(runs, CONFIG.model_copy(update={"source": source}), 0)
    with pytest.raises(ConfigurationError, match="no run has any yet"):
        read_lessons(tmp_path / "empty", CONFIG, 0)
    (runs / "study" / "teacher" / "step_002" / "trajectories.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"step_002/trajectories\.parquet is not a readable table"):
        read_lessons(runs, CONFIG, 0)


def test_without_won_episodes_there_is_nothing_to_learn(tmp_path, form):
    folder = tmp_path / "loser" / "step_000"
    folder.mkdir(parents=True)
    lost = [trajectory(form, 0, group, 0, won=False) for group in range(3)]
    to_frame(lost).write_parquet(folder / "trajectories.parquet")
    with pytest.raises(DataError, match="sound won trajectories with guidance of its last 1 steps are of 0 games"):
        read_lessons(tmp_path, section("distill", source="loser"), 0)


def test_trajectories_of_another_tokenizer_are_refused(runs, make_policy):
    from sg_pipeline.policies.tokenizer import build_tokenizer
    from sg_pipeline.policies.vocabulary import Vocabulary

    lessons = read_lessons(runs, CONFIG, 0)
    other = build_tokenizer(Vocabulary(words=("go", "look"), receptacles=("shelf",), items=("mug",)))
    policy = make_policy()
    policy.tokenizer = other
    with pytest.raises(DataError, match="written with another tokenizer or prompt set"):
        distill(policy, lessons, AgentFormat(other, load_prompts("tiny"), guidance=True), CONFIG, 0)
