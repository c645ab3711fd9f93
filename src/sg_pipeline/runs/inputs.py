"""Digests of the files that a run reads by a path or name in its parameters: content may change under the same name.

A new parameter that is the path or name of an input which can change a result needs an entry in `read_inputs`; a test
walks the parameter tree and requires it.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sg_pipeline.config.tree import Parameters, flat
from sg_pipeline.environments.registry import load_benchmark
from sg_pipeline.errors import CheckpointError, ConfigurationError, DataError
from sg_pipeline.policies.gguf import gguf_file
from sg_pipeline.runs.digests import FileDigests

Found = Iterator[tuple[str, str | None]]
"""Names and digests; None for a missing input."""


def read_inputs(parameters: Parameters, project: Path, reads: Callable[[str], bool]) -> dict[str, str]:
    """Return the digests of the inputs that the parameters name: parameter -> digest.

    A missing input has no entry; the node that needs it reports it.

    Args:
        parameters: of the run.
        project: base folder of relative paths.
        reads: whether a parameter, by its dotted name, is read by this start.
    """
    digests = FileDigests(project / "data" / "02_intermediate" / ".digests.json")
    found = [*_of_policies(parameters, project, digests, reads), *_of_tasks(parameters, project, digests, reads)]
    return {name: digest for name, digest in found if digest}


def _of_policies(parameters: Parameters, project: Path, digests: FileDigests, reads: Callable[[str], bool]) -> Found:
    base, rollout, prompting = parameters.base_model, parameters.rollout, parameters.prompting
    benchmark = load_benchmark(parameters.environment.name).name
    if reads("base_model.path"):
        if base.loads == "checkpoint":
            yield "base_model.path", _manifest(project / base.path, digests)
        elif base.loads == "pretrained":
            yield "base_model.path", _model(base.path, base.revision, project, digests, local_only=base.local_only)
    if reads("rollout.guide") and rollout.guide is not None:
        yield "rollout.guide", _manifest(project / rollout.guide, digests)
    if reads("rollout.prompts"):
        yield "rollout.prompts", _prompts(rollout.prompts, benchmark)
    if reads("prompting.prompts"):
        for method in prompting.methods:
            yield f"prompting.prompts.{method}", _prompts(prompting.prompts_of(method), benchmark)


def _of_tasks(parameters: Parameters, project: Path, digests: FileDigests, reads: Callable[[str], bool]) -> Found:
    benchmark, tasks, source = load_benchmark(parameters.environment.name), parameters.tasks, parameters.distill.source
    if reads("environment.arguments"):
        for name, value in flat(parameters.environment.arguments, "environment.arguments.").items():
            path = project / value if isinstance(value, str) and value else project
            if path.exists() and not project.resolve().is_relative_to(path.resolve()):
                yield name, _content(path, digests)
    if reads("tasks"):
        with suppress(DataError):  # missing official data
            for name, files in benchmark.inputs(tasks, project).items():
                yield name, _content(files, digests)
    if reads("validation.panel"):
        with suppress(ConfigurationError):  # a missing panel
            for name, files in benchmark.inputs(parameters.validation.tasks(tasks), project).items():
                yield name.replace("tasks.", "validation.", 1), _content(files, digests)
    if reads("distill.source") and source is not None:
        recorded = project / "data" / "03_primary" / source
        steps = sorted(recorded.glob("step_*/trajectories.parquet"))[-parameters.distill.steps :]
        yield "distill.source", _content({_name(path, recorded): path for path in steps}, digests)


def _manifest(folder: Path, digests: FileDigests) -> str | None:
    """Digest a checkpoint of this project by its manifest, which contains the digest of every file."""
    from sg_pipeline.policies.checkpoint import MANIFEST

    path = folder / MANIFEST
    return digests.of_file(path) if path.is_file() else None


def _model(name: str, revision: str | None, project: Path, digests: FileDigests, *, local_only: bool) -> str | None:
    """Digest a transformers model: the content of its folder, or the commit of a hub id.

    An adapter names its base model, which is included.
    """
    with suppress(CheckpointError):  # a missing file is reported where it is loaded
        if (file := gguf_file(name)) is not None:
            return digests.of_file(project / file) if (project / file).is_file() else None
    folder: Path | None = project / name
    if folder is not None and folder.is_dir():
        digest: str | None = digests.of_files({_name(path, folder): path for path in _model_files(folder)})
    else:
        folder = _snapshot(name, revision, local_only=local_only)
        digest = None if folder is None else folder.name
    if folder is None or not (folder / "adapter_config.json").is_file():
        return digest
    with suppress(OSError, ValueError, KeyError, TypeError):
        said = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        base = str(said["base_model_name_or_path"])
        if (project / base).resolve() != folder.resolve():
            below = _model(base, said.get("revision"), project, digests, local_only=local_only)
            return hashlib.sha256(f"{digest} {below}".encode()).hexdigest()[:16]
    return digest


def _model_files(folder: Path) -> list[Path]:
    """Return the files of a folder that `from_pretrained` may read: weights, configurations, tokenizer, templates."""
    from sg_pipeline.policies.checkpoint import MANIFEST

    files = [*folder.iterdir(), *folder.glob("additional_chat_templates/*")]
    ignored = (".", "README", "LICENSE", "optimizer", MANIFEST)
    return sorted(path for path in files if path.is_file() and not path.name.startswith(ignored))


def _snapshot(repository: str, revision: str | None, *, local_only: bool) -> Path | None:
    """Return the snapshot folder of a hub id in the local cache, which is named by commit; None if not cached."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    for file in ("config.json", "adapter_config.json"):
        path: Any = None
        with suppress(Exception):  # no network, no such file, not a hub id: reported where the model is loaded
            # If downloads are allowed, a branch may point to a newer commit, as it will when the model is loaded.
            path = None if local_only else hf_hub_download(repository, file, revision=revision)
        with suppress(Exception):
            path = path or try_to_load_from_cache(repository, file, revision=revision)
        if isinstance(path, str):
            return Path(path).parent
    return None


def _prompts(name: str, benchmark: str) -> str | None:
    """Digest a prompt set as used, including what it inherits: shipped sets may change, too."""
    from sg_pipeline.agents.prompts import load_prompts

    with suppress(ConfigurationError):
        texts = {field: text for field, text in asdict(load_prompts(name, benchmark)).items() if field != "name"}
        return hashlib.sha256(json.dumps(texts, sort_keys=True).encode()).hexdigest()[:16]
    return None


def _content(files: Path | Mapping[str, Path], digests: FileDigests) -> str | None:
    """Digest a file, all files of a folder, or files by name; None without any file."""
    if isinstance(files, Path) and files.is_file():
        return digests.of_file(files)
    if isinstance(files, Path):
        files = {_name(path, files): path for path in sorted(files.rglob("*")) if path.is_file()}
    return digests.of_files(files) if files else None


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()
