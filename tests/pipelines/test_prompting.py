"""The prompting methods from the command line, with a small random language model."""

import polars as pl
import pytest
from chat_templates import bpe_tokenizer
from parameter_reads import parameter_reads
from project_copy import written

from sg_pipeline.runs.lineage import READ_IN_PART

pytestmark = pytest.mark.slow

PLAYED = (("trial", "parquet"), ("thoughts", "parquet"), ("report", "json"))
METHODS = ("react", "react_self_guide", "reflexion", "reflact")


def parameters(folder, **more):
    return {
        "base_model.source": "pretrained",
        "base_model.path": folder,
        "rollout.max_turns": 2,
        "rollout.max_length": 8000,
        "prompting.max_new_tokens": 24,
        "prompting.reflexion.trials": 2,
        "prompting.reflexion.max_new_tokens": 16,
        **{name.replace("__", "."): value for name, value in more.items()},
    }


@pytest.fixture(scope="module")
def played(project, language_model):
    project.run("prompting", "prompted", parameters(language_model))
    return "prompted"


def outputs(project, run):
    """Return every file of a run, except those of its identity: path -> content."""
    identity = ("run.json", "clock.json", ".lock")
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for folder in (project.data("07", run), project.data("08", run))
        for path in folder.rglob("*")
        if path.is_file() and path.name not in identity
    }


def test_prompting_compares_all_methods(project, played):
    assert sorted(outputs(project, played)) == sorted(
        [f"prompting/{m}_{kind}_1.{end}" for m in METHODS for kind, end in PLAYED]
        + [f"prompting/reflexion_{kind}_2.{end}" for kind, end in PLAYED]
        + ["prompting/reflexion_reflections_1.parquet", *(f"prompting_{m}.json" for m in METHODS)]
        + ["prompting.json", "prompting.md"]
    )
    comparison = project.json("08", played, "prompting.json")
    assert comparison["reference"] == "react"
    assert [(row["split"], row["method"], row["trial"]) for row in comparison["rows"]] == [
        (split, method, trial)
        for split in ("valid_seen", "valid_unseen")
        for method in METHODS
        for trial in ((1, 2) if method == "reflexion" else (1,))
    ]
    for row in comparison["rows"]:
        assert (row["episodes"], row["games"]) == (2, 2)
        assert (row["difference"] is None) == (row["method"] == "react")
        table = pl.read_parquet(project.data("07", played) / "prompting" / f"{row['method']}_trial_1.parquet")
        mine = table.filter(split=row["split"])
        assert mine["polarity"].is_null().any() == (row["method"] != "react_self_guide")
        if row["trial"] == 1:
            assert row["cost"]["sampled_tokens"] == mine["completion_ids"].list.len().sum() / 2
    text = (project.data("08", played) / "prompting.md").read_text()
    assert "| ReAct w/ SG |" in text
    assert "| Reflexion, up to 2 trials † |" in text


def test_prompting_resumes_bit_for_bit(project, language_model, played):
    """Existing outputs are not played again; missing ones are recreated from them, bit for bit."""
    before = outputs(project, played)
    folder = project.data("07", played) / "prompting"
    kept = written(project, played, "07")
    for name in ("reflexion_trial_2.parquet", "reflexion_thoughts_2.parquet", "reflexion_report_2.json"):
        (folder / name).unlink()
    (project.data("08", played) / "prompting_reflexion.json").unlink()
    project.run("prompting", played, parameters(language_model), "--only-missing-outputs")
    assert outputs(project, played) == before
    again = {name.rpartition("/")[2] for name, _ in written(project, played, "07").items() - kept.items()}
    assert again == {f"reflexion_{kind}_2.{end}" for kind, end in PLAYED}


def test_prompting_reads_only_its_declared_parameters(project, language_model, played):
    more = {"rollout__tasks_per_step": 3, "rollout__group_size": 5, "train__beta": 0.5, "evaluate__batch_rows": 3}
    with parameter_reads() as found:
        project.run("prompting", played, parameters(language_model, **more))
    own = {"group_size", "max_new_tokens", "temperature", "guidance", "prompts"}  # set by the method
    no_effect = {"rows", "cache_gib"}
    assert found["prompting", "rollout"] - own - no_effect == set(READ_IN_PART["prompting", "rollout"])
    assert found["prompting", "evaluate"] - {"batch_rows"} == set(READ_IN_PART["prompting", "evaluate"])
    recorded = project.json("08", played, "run.json")["parameters"]
    assert not any(name.startswith(("train.", "rollout.tasks", "rollout.group")) for name in recorded)
    error = project.refuse("prompting", played, parameters(language_model, rollout__max_turns=1))
    assert "(rollout.max_turns was 2, is 1)" in error


def test_prompting_of_some_methods_with_own_prompts(project, language_model, tmp_path):
    path = tmp_path / "mine.yml"
    path.write_text("base: reflact\nplain: Answer with <action>look</action>.")
    more = {"prompting__methods": "reflact+react_self_guide", "prompting__prompts__reflact": path}
    project.run("prompting", "two_methods", parameters(language_model, **more))
    comparison = project.json("08", "two_methods", "prompting.json")
    assert [row["method"] for row in comparison["rows"]][:2] == ["reflact", "react_self_guide"]
    assert comparison["reference"] is None
    assert {row["difference"] is None for row in comparison["rows"]} == {True}
    table = pl.read_parquet(project.data("07", "two_methods") / "prompting" / "reflact_trial_1.parquet")
    text = bpe_tokenizer("qwen3").decode(table["context_ids"][0].to_list())
    assert "Answer with <action>look</action>." in text


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"prompting__methods": "reflexact"}, "parameter prompting.methods.0: input should be 'react', "),
        ({"prompting__methods": "react+react"}, "parameter prompting.methods: react is named twice"),
        ({"prompting__prompts__reakt": "x"}, "parameter prompting.prompts.reakt"),
        ({"prompting__reflexion__trial": 2}, "did you mean prompting.reflexion.trials?"),
        ({"prompting__prompts__react": "nowhere.yml"}, "prompts 'nowhere.yml' is neither one of the shipped sets"),
        ({"prompting__prompts__reflexion": "react"}, "prompts 'react' lack the field 'memory', which Reflexion needs"),
        ({"rollout__max_length": 500}, "max_length is 500, but the opening of task"),
        ({"rollout__max_length": 9000}, "max_length must lie between 1 and the model's max_position_embeddings (8192)"),
        ({"base_model__source": "checkpoint", "base_model__path": None}, "but base_model is the tiny policy"),
        ({"base_model__source": "warm_start"}, "base_model.source is 'warm_start', but the prompting methods need"),
    ],
)
def test_prompting_wrong_parameters_are_refused(project, language_model, base_policy, more, message):
    name = f"wrong_{next(iter(more))}_{len(message)}"
    more = {key: base_policy if value is None else value for key, value in more.items()}
    assert message in project.refuse("prompting", name, parameters(language_model, **more))
    assert not list((project.root / "data").glob(f"07_*/{name}/**/*.parquet"))
