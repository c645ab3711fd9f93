"""The forms of commands are those of the game that is played."""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from alfworld_games import DOING_EVERYTHING, PUT, worded

from sg_pipeline.agents.prompts import FORMS, load_prompts, warn_of_foreign_commands
from sg_pipeline.environments.alfworld.environment import AlfworldEnvironment
from sg_pipeline.environments.alfworld.vocabulary import alfworld_vocabulary
from sg_pipeline.policies.tokenizer import build_tokenizer


def matching(command: str, forms: Iterable[str]) -> list[str]:
    return [form for form in forms if re.fullmatch(re.sub(r"\\\(\w+\\\)", r"[a-z]+ \\d+", re.escape(form)), command)]


@pytest.mark.parametrize(("version", "engine"), [*((version, "fast") for version in PUT), ("2.1.1", "stock")])
def test_command_forms_match_the_engines_commands(tmp_path: Path, version: str, engine: str) -> None:
    environment = AlfworldEnvironment(tmp_path, engine=engine, admissible=True)  # type: ignore[arg-type]
    forms = environment.reset(worded(tmp_path, version), 0).forms
    assert PUT[version].format(o="(object)", r="(receptacle)") in forms
    put = PUT[version].format(o=r"\1", r=r"\2")
    shown = [environment.step(re.sub("^move (.*) to (.*)", put, command)) for command in DOING_EVERYTHING[:-5]]
    assert [step.won for step in shown] == [False] * (len(shown) - 1) + [True]
    matched = {command: matching(command, forms) for step in shown for command in step.admissible or ()}
    assert all(matched.values())
    assert {form for found in matched.values() for form in found} == set(forms)
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
