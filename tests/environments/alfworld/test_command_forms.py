"""The forms of commands are those of the game that is played."""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from alfworld_games import PUT, extract_official, walkthrough, worded

from sg_pipeline.agents.prompts import FORMS, load_prompts, warn_of_foreign_commands
from sg_pipeline.environments.alfworld.environment import AlfworldEnvironment
from sg_pipeline.environments.alfworld.expert import Expert
from sg_pipeline.environments.alfworld.official import find_official_games
from sg_pipeline.environments.alfworld.progress import Progress
from sg_pipeline.environments.alfworld.vocabulary import alfworld_vocabulary
from sg_pipeline.policies.tokenizer import build_tokenizer
from sg_pipeline.trajectories.types import Task


def matching(command: str, forms: Iterable[str]) -> list[str]:
    return [form for form in forms if re.fullmatch(re.sub(r"\\\(\w+\\\)", r"[a-z]+ \\d+", re.escape(form)), command)]


def everything_possible(environment: AlfworldEnvironment, task: Task, kinds: tuple[str, ...]) -> set[str]:
    """Look everywhere, then carry one item of each of `kinds` everywhere; return all commands that were possible."""
    shown = environment.reset(task, 0)
    seen = set(shown.admissible or ())
    places = [command for command in sorted(seen) if command.startswith("go to ")]

    def visit(place: str) -> list[str]:
        found = environment.step(place).admissible or ()
        seen.update(found)
        opened = f"open {place.removeprefix('go to ')}"
        if opened in found:
            found = environment.step(opened).admissible or ()
            seen.update(found)
        return list(found)

    takes = {command: place for place in places for command in visit(place) if command.startswith("take ")}
    for kind in kinds:
        take = next((command for command in takes if command.startswith(f"take {kind} ")), None)
        if take is not None:
            visit(takes[take])
            seen.update(environment.step(take).admissible or ())
            for place in places:
                visit(place)
            put_back = next(command for command in visit(takes[take]) if command.startswith(("move", "put", "lay")))
            environment.step(put_back)
    return seen


@pytest.mark.parametrize(("version", "engine"), [*((version, "fast") for version in PUT), ("2.1.1", "stock")])
def test_command_forms_match_the_engines_commands(tmp_path: Path, version: str, engine: str) -> None:
    environment = AlfworldEnvironment(tmp_path, engine=engine, admissible=True)  # type: ignore[arg-type]
    task = worded(tmp_path, version)
    forms = environment.reset(task, 0).forms
    assert PUT[version].format(o="(object)", r="(receptacle)") in forms
    possible = everything_possible(environment, task, ("apple", "knife") if engine == "fast" else ("knife",))
    assert all(matching(command, forms) for command in possible)
    if engine == "fast":
        assert {form for command in possible for form in matching(command, forms)} == set(forms)
    # The walkthrough, in the game's words.
    winning = [
        re.sub("move (.*) to (.*)", PUT[version].format(o=r"\1", r=r"\2"), command)
        for command in walkthrough(tmp_path, task)
    ]
    environment.reset(task, 0)
    shown = [environment.step(command) for command in winning]
    assert [step.won for step in shown] == [False] * (len(winning) - 1) + [True]
    assert all(matching(command, forms) for command in winning)
    environment.close()


def test_every_prompt_set_lists_the_games_own_forms(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for version in PUT:
        forms = AlfworldEnvironment(tmp_path).reset(worded(tmp_path, version), 0).forms
        for name in ("self_guide", "react", "react_self_guide", "reflact", "reflexion"):
            prompts = load_prompts(name, "alfworld")
            for system in filter(None, (prompts.guided, prompts.plain)):
                assert system.count(FORMS) == 1
                warn_of_foreign_commands(name, system.replace(FORMS, " | ".join(forms)), forms)
    assert caplog.messages == []
    tokenizer = build_tokenizer(alfworld_vocabulary())
    for form in PUT["2.1.1"], PUT["2.1.2"]:
        command = form.format(o="mug 1", r="desk 2")
        assert tokenizer.decode(tokenizer.encode(command)) == command


def test_official_games_are_solved_with_listed_forms_alone(tmp_path: Path) -> None:
    """One kitchen and one bedroom: together they have every form, and the expert speaks their words."""
    extract_official(tmp_path, lambda name: bool(re.search(r"valid_seen/(pick_cool.*-Fork|pick_cool|look_at)", name)))
    environment = AlfworldEnvironment(tmp_path, admissible=True)
    used: set[str] = set()
    for task_type in ("pick_cool_then_place_in_recep", "look_at_obj_in_light"):
        tasks = [task for task in find_official_games(tmp_path)["valid_seen"] if task.task_type == task_type]
        task = min(tasks, key=lambda task: ((tmp_path / task.path).stat().st_size, task.path))
        forms = environment.reset(task, 0).forms
        assert "put (object) in/on (receptacle)" in forms
        assert not [form for form in forms if form.startswith("move")]
        possible = everything_possible(environment, task, ("knife", "butterknife", "apple", "bread", "plate", "cup"))
        assert all(matching(command, forms) for command in possible)
        used |= {form for command in possible for form in matching(command, forms)}
        shown = environment.reset(task, 0)
        progress, expert = Progress(shown.observation), Expert(np.random.default_rng(0), 0.0, forms[4])
        while not shown.done:
            command = expert.decide(progress.memory).action
            assert matching(command, forms)
            shown = environment.step(command)
            assert shown.valid
            progress.judge(command, shown.observation, shown.won)
        assert shown.won
    assert used == set(forms)
