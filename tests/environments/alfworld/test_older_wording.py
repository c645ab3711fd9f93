"""Demonstrations in the older wording read exactly as a game with the official grammar of version 2.1.1 answers."""

import json
import re
from dataclasses import replace

from alfworld_games import SMALL, official_tasks, sampled, write_task

from sg_pipeline.environments.alfworld.environment import AlfworldEnvironment
from sg_pipeline.environments.alfworld.expert import demonstrate
from sg_pipeline.environments.alfworld.generation.problem import game_file
from sg_pipeline.environments.alfworld.rulebook import TASK_TYPES
from sg_pipeline.environments.alfworld.wording import older_wording
from sg_pipeline.randomness import stream


def unnumbered(text: str) -> str:
    return re.sub(r"arrive at loc \d+\.", "arrive at loc N.", text)


def test_reworded_demonstrations_read_as_games_of_the_older_version(tmp_path):
    official = tmp_path / "official"
    older = json.loads((official / official_tasks(official, "look_at")[0].path).read_bytes())
    environment = AlfworldEnvironment(tmp_path)
    for number, task_type in enumerate(TASK_TYPES):
        rng = stream(5, number)
        scene = sampled(task_type, number, SMALL)
        game = json.loads(game_file(scene))
        task_line = re.search(r"Your task is to: [^\"]*", game["grammar"])[0]
        newer = write_task(tmp_path, f"newer-{number}", task_type, json.dumps(game).encode())
        game["grammar"] = re.sub(r"Your task is to: [^\"]*", task_line, older["grammar"])
        game["pddl_domain"] = older["pddl_domain"]  # it has no action "help" either
        task = write_task(tmp_path, f"older-{number}", task_type, json.dumps(game).encode())
        played = replace(demonstrate(scene, rng, noise=0.2), forms=environment.reset(newer, 0).forms)
        reworded = older_wording(played, rng)
        shown = environment.reset(task, 0)
        assert shown.forms == reworded.forms
        texts = [*(turn.observation for turn in reworded.turns[1:]), reworded.last_observation]
        for turn, text in zip(reworded.turns, texts, strict=True):
            shown = environment.step(turn.action)
            assert unnumbered(shown.observation) == unnumbered(text)
            assert "move " not in turn.guidance_text
        assert shown.won == played.won
        places = [re.match(r"You arrive at (loc \d+)\. .*?the (\w+ \d+)", text) for text in texts]
        located = {(found[1], found[2]) for found in places if found}
        assert len({place for place, _ in located}) == len({name for _, name in located}) == len(located)
    environment.close()
