"""Atomic writes: a reader sees the old file or the new one, never half of one, also after `kill -9`."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ABOUT = "file: "
"""How a note on an error begins that names the file which it is about."""

_SUFFIX = ".tmp"


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Note on an error that passes which file was being written: a full disk is often reported without its name."""
    try:
        yield
    except Exception as error:
        error.add_note(f"{ABOUT}{path}")
        raise


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary file next to `path`, which replaces it when the block ends without an error.

    The data are flushed to the disk before the rename. Parent folders are made.
    """
    path = Path(path)
    with named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=_SUFFIX, dir=path.parent)
        os.close(descriptor)
        temporary = Path(name)
        try:
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            # mkstemp makes files private; a result is as readable as any other file its user writes.
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Delete a file or a folder, if it exists; a folder is whole or gone, whenever the process is killed."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=_SUFFIX, dir=path.parent))
    path.rename(aside / path.name)
    shutil.rmtree(aside)


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files of a killed process below `folder`, where no other process may be writing."""
    for temporary in sorted(folder.rglob(f".*{_SUFFIX}")):
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
