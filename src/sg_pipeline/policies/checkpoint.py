"""Policies on disk: a transformers checkpoint with a manifest, written completely or not at all.

    <folder>/  config.json, model*.safetensors, tokenizer files …   as `save_pretrained` writes them
               optimizer*.safetensors                               AdamW's state, tensors by name
               policy.json                                          the manifest: step, name, digest of every file
               README.md                                            the model card, written later: not in the manifest

transformers can load the folder by `from_pretrained`. Loading restores exactly what was saved. Large weights and large
optimizer states are split into several files. Of a pruned checkpoint only the manifest is left, which records that: it
counts as existing, but cannot be loaded.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sg_pipeline.config.base_model import Compute
from sg_pipeline.config.checkpoints import SHARD_SIZE, shard_bytes
from sg_pipeline.errors import CheckpointError
from sg_pipeline.files import atomic_write
from sg_pipeline.policies.adapters import put_adapters, save_adapters
from sg_pipeline.policies.compute import shorten_frozen
from sg_pipeline.policies.optimizer_files import load_optimizer, save_optimizer
from sg_pipeline.policies.policy import Policy, has_adapters
from sg_pipeline.policies.pretrained import load_pretrained

FORMAT_VERSION = 1
MANIFEST = "policy.json"
CARD = "README.md"
PRUNED = "pruned"
"""Key of a manifest whose files were deleted."""


def save_policy(
    policy: Policy, folder: Path | str, notes: dict[str, Any] | None = None, *, max_shard_size: str = SHARD_SIZE
) -> None:
    """Write `policy` to `folder`, replacing its content.

    The files are written to a sibling folder, flushed to disk and renamed: a crash at any moment leaves the old
    checkpoint or the new one, never a mixture.

    Args:
        policy: its model, tokenizer, step, name and optimizer state are saved.
        folder: the target; parents are created.
        notes: JSON values to save in the manifest, see `read_manifest`.
        max_shard_size: of a file of weights or of optimizer state, see `config.checkpoints`.
    """
    folder = Path(folder)
    _finish_replacement(folder)
    new, old = _siblings(folder)
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    adapter: dict[str, Any] = {}
    with _no_progress_bars():
        if has_adapters(policy):
            adapter = {"adapter": save_adapters(policy, new)}
        else:
            policy.model.save_pretrained(new, max_shard_size=max_shard_size)
        policy.tokenizer.save_pretrained(new)
    if policy.optimizer_state:
        save_optimizer(policy.optimizer_state, new, shard_bytes(max_shard_size))
    manifest = {
        "format_version": FORMAT_VERSION,
        "step": policy.step,
        "name": policy.name,
        "parameters": policy.parameter_count(),
        "files": {name: _digest(new / name) for name in _file_names(new)},
        "notes": notes or {},
        **({} if policy.compute == "weights" else {"compute": policy.compute}),
        **({"imitation": policy.imitation} if policy.imitation else {}),
        **adapter,
    }
    (new / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    for name in [*_file_names(new), MANIFEST]:
        _flush(new / name)
    _flush(new)
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    _flush(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def load_policy(folder: Path | str, device: str = "cpu", compute: Compute | None = None) -> Policy:
    """Load the policy in `folder`, after checking every file against the manifest.

    Args:
        folder: the checkpoint.
        device: of the weights.
        compute: precision of sampling and training; None: the one that it was saved with.

    Raises:
        CheckpointError: the folder or a file is missing, truncated or changed, or of an unknown format; or it was
            pruned.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    if manifest.get(PRUNED):
        raise CheckpointError(
            f"the policy in '{folder}' was pruned to save disk space (checkpoints.keep_last), so its weights are gone."
        )
    for name, digest in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            raise CheckpointError(
                f"The checkpoint '{folder}' is incomplete: '{name}' is missing; restore it, or delete the folder."
            )
        if (found := _digest(path)) != digest:
            raise CheckpointError(
                f"The checkpoint file '{path}' is damaged: its sha256 is {found[:12]}…, but the manifest has "
                f"{digest[:12]}…; restore it, or delete the folder."
            )
    with _no_progress_bars():
        if "adapter" in manifest:
            policy = _load_adapters(folder, manifest["adapter"], device)
        else:
            policy = load_pretrained(str(folder), device=device)
    policy.step = manifest["step"]
    policy.name = manifest["name"]
    policy.compute = compute or manifest.get("compute", "weights")
    policy.imitation = manifest.get("imitation")
    if policy.compute == "bfloat16":
        shorten_frozen(policy.model)
    policy.optimizer_state = load_optimizer(folder, manifest["files"], device)
    return policy


def merge(folder: Path | str, target: Path | str) -> None:
    """Write the policy in `folder` to `target`, with its adapters merged into its weights, in float32.

    In a type of lower precision most of the difference is lost: it is less than half the distance to the next number.

    Raises:
        CheckpointError: `folder` contains no adapters, or their base is missing.
    """
    manifest = read_manifest(folder)
    if "adapter" not in manifest:
        raise CheckpointError(f"the policy in '{folder}' has no adapters: there is nothing to merge.")
    policy = _load_adapters(Path(folder), manifest["adapter"], "cpu")
    model: Any = policy.model.float()
    policy.model = model.merge_and_unload()
    policy.adapter_base = None
    policy.step, policy.name, policy.compute = manifest["step"], manifest["name"], "weights"
    save_policy(policy, target)


def prune_policy(folder: Path | str) -> int:
    """Delete the files of a checkpoint except its manifest, which records that; return the number of freed bytes.

    The manifest is written first: a crash leaves a checkpoint that is complete or counts as pruned, and another call
    deletes the rest.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    if not manifest.get(PRUNED):
        with atomic_write(folder / MANIFEST) as temporary:
            temporary.write_text(json.dumps({**manifest, PRUNED: True}, indent=2) + "\n", encoding="utf-8")
        _flush(folder)
    freed = 0
    for path in sorted(folder.iterdir()):
        if path.name == MANIFEST:
            continue
        files = [path] if path.is_file() else [part for part in path.rglob("*") if part.is_file()]
        freed += sum(part.stat().st_size for part in files)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    return freed


def read_manifest(folder: Path | str) -> dict[str, Any]:
    """Return the manifest of a checkpoint: step, name, parameters, files and the `notes` it was saved with.

    Raises:
        CheckpointError: the checkpoint is missing, or its manifest is not readable or of another format.
    """
    folder = Path(folder)
    _finish_replacement(folder)
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        found = (
            f"'{MANIFEST}' is missing"
            if folder.is_dir()
            else "it is a file"
            if folder.exists()
            else "it does not exist"
        )
        raise CheckpointError(
            f"There is no policy checkpoint in '{folder}' ({found}): give the folder of a policy that this "
            "project wrote; any other model, by folder or hub id, is read with base_model.source=pretrained."
        ) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"The manifest '{path}' is not readable as JSON: {error}.") from error
    version = manifest.get("format_version") if isinstance(manifest, dict) else None
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"The checkpoint '{folder}' has format_version {version!r}, but this program reads {FORMAT_VERSION}."
        )
    if isinstance(files := manifest.get("files"), dict) and not all(isinstance(one, str) for one in files.values()):
        raise CheckpointError(f"The manifest '{path}' has values other than digests in 'files'.")
    wanted = {"step": int, "name": str, "parameters": int, "files": dict, "notes": dict}
    for key, kind in wanted.items():
        if not isinstance(manifest.get(key), kind):
            raise CheckpointError(
                f"The manifest '{path}' has {manifest.get(key)!r} as '{key}', but it must be of type {kind.__name__}."
            )
    return manifest


def is_pruned(folder: Path | str) -> bool:
    """Return whether `folder` contains only the manifest of a pruned checkpoint; nothing is changed."""
    return bool(_glance(Path(folder)).get(PRUNED))


def is_whole(folder: Path | str) -> bool:
    """Return whether `folder` contains a checkpoint with all of its files; their contents are not checked."""
    folder = Path(folder)
    manifest = _glance(folder)
    return bool(manifest) and not manifest.get(PRUNED) and all((folder / name).is_file() for name in manifest["files"])


def checkpoint_exists(folder: Path | str) -> bool:
    """Return whether a checkpoint was written to `folder`, pruned or not; its files' contents are not checked."""
    folder = Path(folder)
    _finish_replacement(folder)
    return (folder / MANIFEST).is_file()


def base_of_adapters(folder: Path, said: dict[str, Any]) -> str:
    """Return the path of the base of the adapters in `folder`, which may have been moved together with them.

    `said` is the manifest's entry `adapter`.
    """
    near = (folder / said["path"]).resolve()
    return str(near) if near.exists() else str(said["path"])


def _load_adapters(folder: Path, said: dict[str, Any], device: str) -> Policy:
    """Load the adapters in `folder` and their base."""
    path = base_of_adapters(folder, said)
    try:
        if checkpoint_exists(path):
            base = load_policy(path, device=device)
        else:
            base = load_pretrained(path, dtype=said["dtype"], revision=said["revision"], device=device)
    except CheckpointError as error:
        raise CheckpointError(
            f"the adapters in '{folder}' belong to the base model '{said['path']}', which cannot be read: {error}"
        ) from error
    return put_adapters(base, folder, said, path)


def _glance(folder: Path) -> dict[str, Any]:
    """Return the manifest of a folder that another process may be writing; empty if it cannot be read."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) and isinstance(manifest.get("files"), dict) else {}


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _siblings(folder: Path) -> tuple[Path, Path]:
    """Return the folders of the new version and of the old one while they are exchanged."""
    return folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")


def _finish_replacement(folder: Path) -> None:
    """Complete a replacement that a crash interrupted between its two renames.

    The old version is renamed only when the new one is complete: if the folder is missing and the old one exists, the
    new one is complete.
    """
    new, old = _siblings(folder)
    if not folder.exists() and old.exists():
        (new if new.exists() else old).rename(folder)
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)


def _file_names(folder: Path) -> list[str]:
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in names if name not in (MANIFEST, CARD))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    """Wait until a file's contents (or a folder's entries) are on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
