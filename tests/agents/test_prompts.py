import logging

import pytest

from sg_pipeline.agents.prompts import load_prompts, warn_of_foreign_commands
from sg_pipeline.errors import ConfigurationError


@pytest.mark.parametrize("benchmark", ["alfworld", "scienceworld", "textarena", "webshop"])
def test_prompting_methods_differ_only_in_their_reasoning(benchmark):
    methods = ("react", "react_self_guide", "reflact", "reflexion", "self_guide")
    react, guided, reflact, reflexion, plain = (load_prompts(name, benchmark) for name in methods)
    assert (reflexion.plain, reflexion.thought) == (react.plain, react.thought) == (react.plain, "thought")
    assert "<reflection>" in reflact.plain
    assert reflact.thought == "reflection"
    commands = react.plain[react.plain.index("COMMAND is one") : react.plain.index("Example:")]
    for prompts, system in ((guided, guided.guided), (reflact, reflact.plain), (react, plain.plain)):
        assert commands in system
        assert system.splitlines()[:3] == react.plain.splitlines()[:3]
        assert prompts.user_message("seen", ("look",)) == react.user_message("seen", ("look",))
    verdict = guided.guided[guided.guided.index("VERDICT judges") : guided.guided.index("THOUGHT is")]
    assert verdict in plain.guided
    assert not guided.plain


def test_load_prompts_prefers_the_benchmarks_own():
    assert load_prompts("self_guide", "alfworld") == load_prompts("self_guide")
    assert load_prompts("tiny", "webshop") == load_prompts("tiny")
    assert load_prompts("react", "of_somebody") == load_prompts("react")
    systems = {name: load_prompts("react", name).plain for name in ("alfworld", "scienceworld", "webshop")}
    assert "web shop" in systems["webshop"]
    assert "science task" in systems["scienceworld"]
    for name, system in systems.items():
        assert ("household" in system) == (name == "alfworld")


def test_load_prompts_inherits_from_base(tmp_path):
    mine, other = tmp_path / "mine.yml", tmp_path / "other.yml"
    mine.write_text("base: reflexion\nplain: P")
    prompts = load_prompts(str(mine))
    assert prompts.plain == "P"
    assert prompts.memory == load_prompts("reflexion").memory
    assert prompts.thought == "thought"
    mine.write_text(f"base: {other}")
    other.write_text(f"base: {mine}")
    with pytest.raises(ConfigurationError, match="must name another prompt set"):
        load_prompts(str(mine))


def test_load_prompts_by_path_fills_its_slots(tmp_path):
    path = tmp_path / "mine.yml"
    path.write_text('guided: "G"\nplain: "P"\nobservation: "See: {observation}"\ncommands: " [{commands}]"\n')
    prompts = load_prompts(str(path))
    assert prompts.user_message(" a {b} {observation} \n", ("a", "b")) == "See: a {b} {observation} [a, b]"
    assert prompts.guided == "G"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("guided: g", "lacks the field 'plain'"),
        ("guided: g\nplain: p\nplane: x", "unknown field 'plane'"),
        ("guided: g\nplain: 3", "field 'plain' must be text, found int"),
        ("- a\n- b", "must be a mapping"),
        ("guided: [", "is not YAML"),
        ("guided: g\nplain: p\nobservation: 'nothing'", "must hold the slot"),
        ("guided: g\nplain: p\nobservation: '{observation} {x}'", "must hold the slot"),
        ("guided: g\nplain: p\nobservation: '{observation'", "unbalanced braces"),
        ("thought: thought", "lacks the field 'guided'"),
        ("plain: p\nthought: ''", "lacks the field 'guided'"),
        ("plain: p\nthought: action", "field 'thought' must be a tag's name"),
        ("plain: p\nthought: 'a b'", "field 'thought' must be a tag's name"),
        ("plain: p\nthought: t\nmemory: nothing", r"field 'memory' must hold the slot \{reflections\} once"),
        ("plain: p\nthought: t\nreflect: '{observation}'", r"field 'reflect' must hold the slot \{transcript\} once"),
        ("guided: g\nplain: p\nreflector: '{commands}'", r"field 'reflector' cannot hold the slot \{commands\}"),
        ("base: 3", "field 'base' must name another prompt set, found 3"),
        ("base: no_such_prompts", "prompts 'no_such_prompts' is neither"),
    ],
)
def test_load_prompts_broken_file_raises(tmp_path, text, message):
    path = tmp_path / "broken.yml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=message) as caught:
        load_prompts(str(path))
    assert "\n" not in str(caught.value)


def test_load_prompts_missing_file_names_the_shipped_sets():
    with pytest.raises(ConfigurationError, match=r"shipped sets \(react, .*, self_guide, short, tiny\)"):
        load_prompts("no_such_prompts")


FORMS = ("go to (receptacle)", "put (object) in/on (receptacle)", "use (object)", "look", "search[words]")


@pytest.mark.parametrize(
    ("system", "foreign"),
    [
        ("Commands: go to (receptacle) | move (object) to (receptacle) |\n  look", ["move (object) to (receptacle)"]),
        ("1. go to {recep}\n2. put {obj} in/on {recep}\n3. put {obj} in {recep}", ["put {obj} in {recep}"]),
        ("- go to <place>\n- toggle <thing>\n* use <thing>", ["toggle <thing>"]),
        ('Write "move X to Y", or `put X in/on Y`, at the end.', ["move X to Y"]),
        ("search[words], click[name]", ["click[name]"]),
        ("> go to desk 1\nYou arrive.\n> move mug 1 to desk 1", ["move mug 1 to desk 1"]),
        ("Action 3: put mug 1 in desk 1\nAction: look", ["put mug 1 in desk 1"]),
        ("<thought>I move it.</thought><action>move mug 1 to desk 1</action>", ["move mug 1 to desk 1"]),
        (
            "You may (and should) look. Move on to the next room. Answer <action>COMMAND</action>, as asked (briefly).",
            [],
        ),
        ("{commands}\nWrite mug 1, not mug. Example: <action>use desklamp 1</action>", []),
    ],
)
def test_foreign_command_in_a_prompt_warns_once(system, foreign, caplog):
    caplog.set_level(logging.WARNING)
    for _ in range(2):
        warn_of_foreign_commands("mine.yml", system, FORMS)
    assert len(caplog.messages) == bool(foreign)
    for text in foreign:
        assert f"prompts 'mine.yml' name {text!r}, which fits none of the commands" in caplog.text
