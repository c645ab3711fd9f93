"""The forms of commands are those of the game that is played."""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from alfworld_games import PUT, expert_walk, official_tasks, walkthrough, worded

from sg_pipeline.agents.prompts import FORMS, load_prompts, warn_of_foreign_commands
from sg_pipeline.environments.alfworld.environment import AlfworldEnvironment
from sg_pipeline.environments.alfworld.vocabulary import alfworld_vocabulary
from sg_pipeline.policies.tokenizer import build_tokenizer
from sg_pipeline.trajectories.types import Task


def matching(command: str, forms: Iterable[str]) -> list[str]:
    return [form for form in forms if re.fullmatch(re.sub(r"\\\(\w+\\\)", r"[a-z]+ \\d+", re.escape(form)), command)]


def everything_possible(environment: AlfworldEnvironment, task: Task) -> set[str]:
    """Look everywhere, then carry the knife and the apple everywhere; return all commands that were possible."""
    seen = set(environment.reset(task, 0).admissible or ())
    places = [command for command in sorted(seen) if command.startswith("go to ")]

    def do(command: str) -> tuple[str, ...]:
        found = environment.step(command).admissible or ()
        seen.update(found)
        return found

    def visit(place: str) -> tuple[str, ...]:
        found, opened = do(place), place.replace("go to", "open")
        return do(opened) if opened in found else found

    for place in places:
        visit(place)
    for item in ("knife 1", "apple 1"):
        do("go to countertop 1")
        do(f"take {item} from countertop 1")
        for place in places:
            visit(place)
        do(next(command for command in visit("go to countertop 1") if command.startswith(("move", "put", "lay"))))
    return seen


@pytest.mark.parametrize(("version", "engine"), [*((version, "fast") for version in PUT), ("2.1.1", "stock")])
def test_command_forms_match_the_engines_commands(tmp_path: Path, version: str, engine: str) -> None:
    environment = AlfworldEnvironment(tmp_path, engine=engine, admissible=True)  # type: ignore[arg-type]
    task = worded(tmp_path, version)
    forms = environment.reset(task, 0).forms
    assert PUT[version].format(o="(object)", r="(receptacle)") in forms
    possible = everything_possible(environment, task)
    assert all(matching(command, forms) for command in possible)
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
    environment = AlfworldEnvironment(tmp_path)
    forms = environment.reset(worded(tmp_path, "2.1.1"), 0).forms
    tasks = official_tasks(tmp_path, "pick_cool.*-Fork|pick_cool|look_at")
    for task_type in ("pick_cool_then_place_in_recep", "look_at_obj_in_light"):
        task = next(task for task in tasks if task.task_type == task_type)
        commands, shown = expert_walk(environment, task)
        assert set(shown[0].forms) == set(forms) - {"help"}
        assert shown[-1].won
        assert all(step.valid for step in shown)
        assert all(matching(command, forms) for command in commands)
