import pytest

from sg_pipeline.agents.prompts import load_prompts
from sg_pipeline.errors import ConfigurationError


def test_shipped_prompts_load():
    for name in ("tiny", "self_guide"):
        prompts = load_prompts(name)
        assert prompts.guided
        assert prompts.plain
        assert prompts.user_message(" seen \n") == "seen"
    assert "<guidance>" in load_prompts("self_guide").guided
    assert "guidance" not in load_prompts("self_guide").plain


def test_braces_in_an_observation_are_text():
    assert load_prompts("self_guide").user_message("a {b} {observation}") == "a {b} {observation}"


def test_own_prompts_by_path(tmp_path):
    path = tmp_path / "mine.yml"
    path.write_text('guided: "G"\nplain: "P"\nobservation: "See: {observation}"\ncommands: " [{commands}]"\n')
    prompts = load_prompts(str(path))
    assert prompts.user_message("x", ("a", "b")) == "See: x [a, b]"
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
    ],
)
def test_broken_prompts_are_explained(tmp_path, text, message):
    path = tmp_path / "broken.yml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=message) as caught:
        load_prompts(str(path))
    assert "\n" not in str(caught.value)


def test_a_missing_file_names_the_shipped_sets():
    with pytest.raises(ConfigurationError, match=r"shipped sets \(self_guide, tiny\)"):
        load_prompts("no_such_prompts")
