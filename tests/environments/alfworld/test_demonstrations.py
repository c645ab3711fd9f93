"""The expert solves games on what it has read, recovers from mistakes, and names its sub-goals in few known words."""

from pathlib import Path

import pytest
from alfworld_games import WHOLE_FLOOR_PLAN, sampled
from demonstrated import insistence

from sg_pipeline.environments.alfworld import expert
from sg_pipeline.environments.alfworld.benchmark import AlfworldBenchmark, TasksConfig
from sg_pipeline.environments.alfworld.expert import Expert, GeneratedRoomsDemonstrator, demonstrate, mistake, mistaken
from sg_pipeline.environments.alfworld.generation.panel import make_panel, panel_scenes
from sg_pipeline.environments.alfworld.memory import Memory
from sg_pipeline.environments.alfworld.rulebook import NOTHING_HAPPENS, TASK_TYPES
from sg_pipeline.environments.alfworld.rules import RulesModel
from sg_pipeline.environments.panels import digest_of
from sg_pipeline.policies.tokenizer import build_tokenizer
from sg_pipeline.randomness import stream
from sg_pipeline.trajectories.types import Polarity


@pytest.mark.parametrize("noise", [0.0, 0.25])
@pytest.mark.parametrize("task_type", TASK_TYPES)
def test_expert_solves_small_scenes_also_after_mistakes(task_type, noise):
    games = [demonstrate(sampled(task_type, n), stream(11, n), noise) for n in range(60)]
    assert sum(game.won for game in games) >= 57
    turns = [turn for game in games for turn in game.turns]
    assert noise * 0.6 <= sum(turn.is_noise for turn in turns) / len(turns) <= noise * 1.4
    after = [[], []]
    for game in games:
        for early, late in zip(game.turns, game.turns[1:], strict=False):
            after[early.is_noise].append(late.polarity)
    if not noise:
        assert Polarity.NEGATIVE not in after[False]
    assert after[True].count(Polarity.NEGATIVE) >= 0.6 * len(after[True])


def test_expert_solves_most_whole_floor_plans():
    games = [
        demonstrate(sampled(task_type, n, WHOLE_FLOOR_PLAN), stream(11, n), max_turns=50)
        for task_type in TASK_TYPES
        for n in range(8)
    ]
    assert sum(game.won for game in games) >= 45


def test_demonstrations_stay_what_they_are():
    """A digest, so that a change of rules, verdicts or expert is a decision: warm starts depend on all of them."""
    demonstrator = AlfworldBenchmark().demonstrator(TasksConfig(panel="small"), Path(), Path(), Path())
    games = [demonstrator.demonstrate(n, stream(3, "demo", n), noise) for noise in (0.0, 0.3) for n in range(150)]
    turns = [
        (turn.observation, turn.guidance_text, turn.polarity.value, turn.action) for g in games for turn in g.turns
    ]
    assert digest_of(turns).startswith("a968db62e5a690a7")


def test_evaluation_games_are_never_demonstrated(monkeypatch):
    panel, free = make_panel(11, {"valid_seen": 1}), sampled(TASK_TYPES[0], 0)
    demonstrator, drawn = GeneratedRoomsDemonstrator(panel), iter([*panel_scenes(panel, "valid_seen"), free])
    monkeypatch.setattr(expert, "sample_scene", lambda *_: next(drawn))
    assert demonstrator.demonstrate(0, stream(11), 0.0).turns[0].observation == RulesModel(free).reset()


def test_a_mistake_is_wrong_as_a_whole_and_the_expert_goes_on_from_there(monkeypatch):
    monkeypatch.setattr(expert, "WHIM", 0.0)
    scene = sampled(TASK_TYPES[5], 1)
    game = demonstrate(scene, stream(5, "own"), noise=0.4)
    assert any(turn.is_noise for turn in game.turns)
    model, player = RulesModel(scene), Expert(stream(5, "unused"))
    observation = model.reset()
    memory = Memory(observation)
    for turn in game.turns:
        assert turn.observation == observation
        decision = player.decide(memory)
        assert turn.is_noise == (turn.action != decision.action)
        wrong = mistaken(memory, turn.action).subgoal
        assert turn.guidance_text == (wrong if turn.is_noise else decision.subgoal)
        observation, won, _ = model.step(turn.action)
        if observation != NOTHING_HAPPENS:
            memory.read(turn.action, observation)
    assert (won, observation) == (game.won, game.last_observation)


def test_a_negative_verdict_is_followed_by_another_sub_goal():
    """What a policy learns from sub-goals that are kept after a negative verdict is to insist on what has failed."""
    games = [demonstrate(sampled(task_type, n), stream(11, n), 0.35) for task_type in TASK_TYPES for n in range(20)]
    assert insistence(games) < 0.1


def test_a_lost_demonstration_stops_at_its_limit():
    game = demonstrate(sampled(TASK_TYPES[5], 0), stream(5, "short"), max_turns=3)
    assert (len(game.turns), game.won) == (3, False)


def test_vocabulary_knows_every_text_and_keeps_every_command():
    tokenizer = build_tokenizer(AlfworldBenchmark().vocabulary())
    for task_type in TASK_TYPES:
        for n in range(15):
            scene = sampled(task_type, n)
            game = demonstrate(scene, stream(13, n), noise=0.4, max_turns=20)
            model, rng = RulesModel(scene), stream(13, "walk", n)
            texts, commands = [model.reset()], [mistake(model, rng) for _ in range(30)]
            texts += [model.step(command).observation for command in commands]
            for turn in game.turns:
                texts += [turn.observation, turn.guidance_text]
                commands.append(turn.action)
                assert len(tokenizer(turn.guidance_text, add_special_tokens=False).input_ids) <= 6
            for text in (*texts, *commands):
                assert tokenizer.unk_token_id not in tokenizer(text, add_special_tokens=False).input_ids, text
            for command in commands:
                assert tokenizer.decode(tokenizer(command, add_special_tokens=False).input_ids) == command
