"""Digests of files by content; those of large files are cached by their file-system metadata.

A file with unchanged path, device, inode, size and modification times has unchanged content: every write updates the
status change time (ctime), and it cannot be set back. A file that was changed a moment ago is not cached, because a
second change could have the same times.
"""

import hashlib
import json
import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from sg_pipeline.files import atomic_write

_LARGE = 2**24
"""Minimum size in bytes for caching: smaller files are read in a hundredth of a second."""

_SETTLED_NS = 2_000_000_000
"""A file that was changed more recently is not cached."""


class FileDigests:
    """Digests of files, 16 hex digits each."""

    def __init__(self, memory: Path) -> None:
        """`memory` is the cache file for the digests of large files; it may be deleted at any time."""
        self._memory = memory
        self._known: dict[str, list[object]] = {}
        with suppress(OSError, ValueError):
            self._known = dict(json.loads(memory.read_text(encoding="utf-8")))

    def of_file(self, path: Path) -> str:
        """Digest a file's content."""
        return self._digest(path)[:16]

    def of_files(self, files: Mapping[str, Path]) -> str:
        """Return one digest of several files: of their names (not necessarily paths) and contents."""
        with ThreadPoolExecutor() as threads:  # hashing releases the GIL
            found = dict(zip(files, threads.map(self._digest, files.values()), strict=True))
        return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:16]

    def _digest(self, path: Path) -> str:
        if path.stat().st_size < _LARGE:
            return _sha256(path)
        known, key, state = self._known, str(path.resolve()), _state(path.stat())
        if key in known and known[key][:-1] == state:
            return str(known[key][-1])
        began = time.time_ns()
        digest = _sha256(path)
        if _state(path.stat()) == state and began - max(path.stat().st_mtime_ns, path.stat().st_ctime_ns) > _SETTLED_NS:
            known[key] = [*state, digest]
            with suppress(OSError), atomic_write(self._memory) as temporary:
                temporary.write_text(json.dumps({name: known[name] for name in list(known) if Path(name).is_file()}))
        return digest


def _state(stat: os.stat_result) -> list[object]:
    return [stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
