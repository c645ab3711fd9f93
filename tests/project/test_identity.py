"""Identity of a run: every parameter and every file that can change its results, and nothing else."""

import os
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from configured import load_raw
from omegaconf import OmegaConf
from pydantic import BaseModel

from sg_pipeline.config.extensions import DEFAULT, ENVIRONMENT, KNOWN
from sg_pipeline.config.tree import Parameters, check_parameters, tree_of
from sg_pipeline.errors import RunIdentityError
from sg_pipeline.runs import digests as file_digests
from sg_pipeline.runs.digests import FileDigests
from sg_pipeline.runs.identity import claim_run, differences, fingerprint, read_identity
from sg_pipeline.runs.inputs import read_inputs

WARM = {"source": "warm_start"}
PRETRAINED = {"source": "pretrained"}
SERVED = {"engine": "vllm", "server": {"url": "http://a"}}
TRAPEZOID = {"aggregate": {"schedule": {"kind": "trapezoid"}}}
VLLM = {"sampling": SERVED, "train": {"sampler_correction": "token_truncate"}}

# Text parameters that do not name an input.
NOT_INPUTS = {
    "run.name", "run.method", "base_model.dtype", "base_model.device", "base_model.lora.target_modules",
    "environment.name", "aggregate.normalisation", "sampling.engine",  # code: the package version is recorded
    "evaluate.splits", "validation.split", "checkpoints.max_shard_size",
    "base_model.revision",  # of base_model.path, and digested with it
    "publish.repo_id", "sweep.name", "sweep.storage", "tracking.project",
}  # fmt: skip
# Sections on which no result of a run depends.
FREE = ("study.", "sampling.server.")


@cache
def shipped(benchmark: str) -> dict[str, Any]:
    return load_raw(run={"name": "default"}, environment={"name": benchmark})


def load(**given: Any) -> Parameters:
    own = shipped(given.get("environment", {}).get("name", DEFAULT))
    return check_parameters(OmegaConf.to_container(OmegaConf.merge(own, given)))


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the parameters of a section, with their types."""
    for name, field in model.model_fields.items():
        nested = list(models(field.annotation))
        path = f"{prefix}{field.alias or name}"
        yield from (leaf for section in nested for leaf in leaves(section, f"{path}."))
        if not nested:
            yield path, field.annotation


def models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models(part)


def may_be_text(annotation: Any) -> bool:
    if annotation in (str, Path, Any):
        return True
    return get_origin(annotation) is not Literal and any(map(may_be_text, get_args(annotation)))


@pytest.mark.parametrize("benchmark", sorted(KNOWN[ENVIRONMENT]))
def test_inputs_read_every_text_parameter(benchmark: str, tmp_path: Path) -> None:
    found = {
        name for name, annotation in leaves(tree_of(benchmark, "trapezoid", "turn", "brier")) if may_be_text(annotation)
    }
    asked: list[str] = []
    read_inputs(load(environment={"name": benchmark}), tmp_path, lambda name: bool(asked.append(name)))
    unread = {
        name
        for name in found - NOT_INPUTS
        if not name.startswith(FREE) and not any(f"{name}.".startswith(f"{read}.") for read in asked)
    }
    assert not unread, "read them in runs.inputs.read_inputs, or list them in NOT_INPUTS"
    assert {"base_model.path", "rollout.prompts", "rollout.guide", "distill.source", "tasks.panel"} <= found


@pytest.mark.parametrize(
    ("given", "more"),
    [
        ({}, {"base_model": {"local_only": False}}),
        ({}, {"base_model": {"tiny": {"layers": 2}, "dtype": "bfloat16", "revision": "v1"}}),
        ({}, {"base_model": {"warm_start": []}}),
        ({"base_model": PRETRAINED}, {"base_model": {"local_only": False, "tiny": {"layers": 2}}}),
        ({"base_model": WARM}, {"base_model": {"path": "elsewhere", "revision": "v1"}}),
        ({}, {"tasks": {"seed": 5, "data": "/elsewhere", "difficulty": {"min_items": 6}, "compile_workers": 1}}),
        ({"tasks": {"source": "generate"}}, {"tasks": {"panel": "small", "data": "/elsewhere"}}),
        ({"tasks": {"source": "official", "data": "x"}}, {"tasks": {"panel": "small", "seed": 5}}),
        ({"environment": {"name": "webshop"}}, {"tasks": {"goals": "synthetic", "catalogue": {"seed": 9}}}),
        ({"environment": {"name": "scienceworld"}}, {"environment": {"arguments": {"heap_mb": 900}}}),
        ({}, {"sampling": {"vllm": {"dtype": "bfloat16"}}}),
        (VLLM, {"sampling": {"server": {"url": "http://b"}, "vllm": {"sleep": True}}}),
        ({}, {"train": {"total_steps": 9, "sampler_cap": 9.0, "max_completion_length": 9}}),
        ({}, {"rollout": {"rows": 4, "cache_gib": 1.0}, "evaluate": {"batch_rows": 1}, "distributed": {"ranks": 2}}),
        ({}, {"prompting": {"max_new_tokens": 9}, "distill": {"steps": 3}, "checkpoints": {"keep_last": 1}}),
    ],
)
def test_fingerprint_omits_parameters_without_effect(given: dict[str, Any], more: dict[str, Any]) -> None:
    both = {s: {**given.get(s, {}), **more.get(s, {})} for s in {**given, **more}}
    assert fingerprint(load(**both)) == fingerprint(load(**given))


@pytest.mark.parametrize(
    ("given", "more"),
    [
        ({"base_model": WARM}, {"base_model": {"tiny": {"layers": 2}}}),
        ({"base_model": PRETRAINED}, {"base_model": {"revision": "v1"}}),
        ({"base_model": PRETRAINED}, {"base_model": {"lora": {"rank": 4}}}),
        ({"tasks": {"source": "generate"}}, {"tasks": {"seed": 5}}),
        ({"tasks": {"source": "generate"}}, {"tasks": {"difficulty": {"min_items": 6}}}),
        (VLLM, {"sampling": {"vllm": {"dtype": "bfloat16"}}}),
        ({"train": {"loss_type": "dr_grpo"}}, {"train": {"max_completion_length": 9}}),
        ({}, {"environment": {"arguments": {"admissible": True}}}),
        ({}, {"aggregate": {"schedule": {"kind": "constant"}}}),
        (TRAPEZOID, {"aggregate": {"schedule": {"kind": "trapezoid", "shape": "cosine"}}}),
        ({}, VLLM),
    ],
)
def test_differences_name_a_parameter_with_effect_both_ways(given: dict[str, Any], more: dict[str, Any]) -> None:
    both = {s: {**given.get(s, {}), **more.get(s, {})} for s in {**given, **more}}
    here, there = ({**fingerprint(load(**one)), "inputs": {}} for one in (given, both))
    assert here["fingerprint"] != there["fingerprint"]
    assert set(differences(here, there)) == set(differences(there, here)) != set()


def recorded(path: Path, read: set[str] | None = None, **given: Any) -> dict[str, Any]:
    """Claim a run and return the content of its `run.json`."""
    claim_run(path, load(**given), path.parents[3], read)
    return dict(read_identity(path) or {})


def write(path: str | Path, text: str = "") -> None:
    """Write a file so that neither its size nor its time shows a change."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)
    os.utime(path, ns=(1, 1))


@pytest.fixture
def claimed(tmp_path: Path) -> Path:
    """Path of a run's identity; the run has outputs of every kind."""
    path = tmp_path / "data/08_reporting/default/run.json"
    for place in ("07_model_output/default/base.parquet", "08_reporting/default/validation/after_001.json"):
        write(tmp_path / "data" / place)
    return path


@pytest.mark.parametrize(
    ("name", "reason"), [("games", "is a reserved folder"), ("study", "contains the runs of a study")]
)
def test_claim_run_of_a_name_that_is_no_run_raises(claimed: Path, name: str, reason: str) -> None:
    write(claimed.parents[1] / "study/grpo-seed0/run.json")
    with pytest.raises(RunIdentityError, match=f"data/\\*/{name} {reason}"):
        recorded(claimed.parents[1] / name / "run.json", run={"name": name})


def test_claim_run_compares_only_what_the_pipeline_reads(claimed: Path) -> None:
    training, prompting = {"rollout", "train"}, {"rollout.max_turns", "prompting"}
    write(claimed.parents[2] / "07_model_output/default/prompting/react_trial_1.parquet")
    first = recorded(claimed, training)["parameters"]
    added = recorded(claimed, prompting, rollout={"tasks_per_step": 6}, prompting={"max_new_tokens": 9})["parameters"]
    assert {**added, **first} == added
    assert {name.partition(".")[0] for name in added.keys() - first.keys()} == {"prompting"}
    with pytest.raises(RunIdentityError, match=r"\(prompting\.max_new_tokens was 9, is 256\)"):
        recorded(claimed, prompting)
    with pytest.raises(RunIdentityError, match=r"\(rollout\.max_turns was 30, is 3\)"):
        recorded(claimed, prompting, rollout={"max_turns": 3}, prompting={"max_new_tokens": 9})
    with pytest.raises(RunIdentityError, match=r"\(rollout\.tasks_per_step was 8, is 6\)"):
        recorded(claimed, training, rollout={"tasks_per_step": 6})


def test_claim_run_validation_parameters_bind_after_the_first_validation(claimed: Path) -> None:
    score = claimed.parent / "validation/after_001.json"
    score.unlink()
    panel = claimed.parents[2] / "02_intermediate/default/validation_panel.json"
    recorded(claimed)
    write(panel)
    assert recorded(claimed)["parameters"]["validation.games"] is None
    assert panel.exists()
    assert recorded(claimed, validation={"games": 5})["parameters"]["validation.games"] == 5
    assert not panel.exists()  # prepared for another validation
    write(score)
    recorded(claimed, validation={"games": 5})
    with pytest.raises(RunIdentityError, match=r"validation\.games was 5, is 6"):
        recorded(claimed, validation={"games": 6})


@pytest.fixture
def project(claimed: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of a project, which is the working directory."""
    monkeypatch.chdir(claimed.parents[3])
    return claimed.parents[3]


MODEL = {"base_model": {"source": "pretrained", "path": "model"}}
OFFICIAL = {"tasks": {"source": "official", "data": "official"}}
GAME = "official/json_2.1.1/train/pick/trial/game.tw-pddl"
ADAPTER = '{"base_model_name_or_path": "model"}'
SHOP = {"environment": {"name": "webshop"}, "tasks": {"source": "official", "data": "shop"}}
TEXTS = 'guided: "a"\nplain: "b"\n'
OTHER_TEXTS = 'guided: "a"\nplain: "c"\n'
BASED = "base: base.yml\nthought: thinking\n"


@pytest.mark.parametrize(
    ("given", "file", "before", "after", "beside"),
    [
        ({"rollout": {"prompts": "my.yml"}}, "my.yml", TEXTS, OTHER_TEXTS, {}),
        ({"rollout": {"prompts": "my.yml"}}, "base.yml", TEXTS, OTHER_TEXTS, {"my.yml": BASED}),
        ({"prompting": {"prompts": {"react": "my.yml"}}}, "my.yml", TEXTS, OTHER_TEXTS, {}),
        (MODEL, "model/model.safetensors", "1", "2", {}),
        (MODEL, "model/generation_config.json", "1", "2", {}),
        (MODEL, "model/chat_template.jinja", "1", "2", {}),
        (MODEL, "model/additional_chat_templates/tools.jinja", "1", "2", {}),
        (
            {"base_model": {"source": "pretrained", "path": "adapters"}},
            "model/model.safetensors", "1", "2", {"adapters/adapter_config.json": ADAPTER},
        ),
        ({"base_model": {"path": "made"}}, "made/policy.json", "1", "2", {}),
        ({"rollout": {"guide": "guide"}}, "guide/policy.json", "1", "2", {}),
        ({"tasks": {"panel": "mine.json"}}, "mine.json", "1", "2", {}),
        ({"validation": {"panel": "mine.json"}}, "mine.json", "1", "2", {}),
        ({"environment": {"arguments": {"rules": "mine/rules.txt"}}}, "mine/rules.txt", "1", "2", {}),
        ({"environment": {"arguments": {"more": {"rules": "mine"}}}}, "mine/below/rules.txt", "1", "2", {}),
        (OFFICIAL, GAME, "1", "2", {}),
        (SHOP, "shop/items_human_ins.json", "1", "2", {
            "shop/items_shuffle_1000.json": "", "shop/items_ins_v2_1000.json": ""}),
        ({"distill": {"source": "donor"}}, "data/03_primary/donor/step_001/trajectories.parquet", "1", "2", {
            "data/03_primary/donor/step_002/trajectories.parquet": "1"}),
    ],
)  # fmt: skip
def test_claim_run_changed_content_under_the_same_name_raises(
    project: Path, claimed: Path, given: dict[str, Any], file: str, before: str, after: str, beside: dict[str, str]
) -> None:
    for path, text in {**beside, file: before}.items():
        write(path, text)
    read = {section for section in Parameters.model_fields if section != "gate"}
    for place in ("06_models/default/guide/policy.json", "07_model_output/default/prompting/react.json"):
        write(f"data/{place}", "")
    recorded(claimed, read, **given)
    recorded(claimed, read, **given)
    write(file, after)
    with pytest.raises(RunIdentityError, match="as before, but its content has changed"):
        recorded(claimed, read, **given)


def test_inputs_ignore_files_without_effect_on_results(project: Path, claimed: Path) -> None:
    """Comments in prompts, a model's README, and a folder that was copied and moved back."""
    write("my.yml", TEXTS)
    write("model/config.json", "{}")
    given = {**MODEL, "rollout": {"prompts": "my.yml"}}
    first = recorded(claimed, **given)["inputs"]
    assert {"rollout.prompts", "base_model.path", "tasks.panel", "validation.panel"} == set(first)
    write("my.yml", f"# by me\n{TEXTS}")
    for name in ("README.md", ".gitattributes", "optimizer.safetensors"):
        write(f"model/{name}", "1")
    shutil.copytree("model", "copy")
    shutil.rmtree("model")
    shutil.move("copy", "model")
    assert recorded(claimed, **given)["inputs"] == first


def test_inputs_hub_id_is_recorded_as_its_commit(project: Path, claimed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(project / "hub"))
    given = {"base_model": {"source": "pretrained", "path": "owner/name"}}
    assert "base_model.path" not in recorded(claimed, **given)["inputs"]  # not fetched yet
    for commit in ("a" * 40, "b" * 40):
        write(f"hub/models--owner--name/snapshots/{commit}/config.json", "{}")
    write("hub/models--owner--name/refs/main", "a" * 40)
    write("hub/models--owner--name/refs/v1", "b" * 40)
    assert recorded(claimed, **given)["inputs"]["base_model.path"] == "a" * 40
    other = claimed.parents[1] / "other/run.json"
    named = {"base_model": {**given["base_model"], "revision": "v1"}, "run": {"name": "other"}}
    assert recorded(other, **named)["inputs"]["base_model.path"] == "b" * 40
    write("hub/models--owner--name/refs/main", "b" * 40)
    with pytest.raises(RunIdentityError, match=r"base_model\.path is 'owner/name' as before, but"):
        recorded(claimed, **given)


def test_file_digests_caches_large_files_and_detects_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_digests, "_LARGE", 1)
    monkeypatch.setattr(file_digests, "_SETTLED_NS", -(2**62))  # as if the file had not changed recently
    hashed = []
    original = file_digests._sha256
    monkeypatch.setattr(file_digests, "_sha256", lambda path: hashed.append(path) or original(path))
    file, memory = tmp_path / "weights", tmp_path / "memory/digests.json"
    write(str(file), "one")
    digest = FileDigests(memory).of_file(file)
    assert FileDigests(memory).of_file(file) == digest
    assert hashed == [file]
    write(str(file), "two")
    assert FileDigests(memory).of_file(file) != digest
    memory.write_text("half")
    assert FileDigests(memory).of_file(file) != digest
    monkeypatch.setattr(file_digests, "_SETTLED_NS", 2_000_000_000)
    file.write_text("changed just now")
    FileDigests(tmp_path / "other").of_file(file)
    assert not (tmp_path / "other").exists()
