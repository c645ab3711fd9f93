"""Digests of files by content. Those of large files are remembered, by what the file system says of them.

A file whose path, device, inode, size and times of change are what they were holds what it held: the time of the last
change of its status (ctime) follows every write, and cannot be set back. A file that was changed a moment ago is not
remembered, since a second change could carry the same times.
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
"""Bytes from which on a digest is remembered: less is read in a hundredth of a second."""

_SETTLED_NS = 2_000_000_000
"""A file that was changed less long ago is not remembered."""


class FileDigests:
    """Digests of files, 16 hex digits each."""

    def __init__(self, memory: Path) -> None:
        """Take the file that remembers those of large files; it is a cache, and may be deleted at any time."""
        self._memory = memory
        self._known: dict[str, list[object]] | None = None

    def of_file(self, path: Path) -> str:
        """Return the digest of a file's content."""
        return self._digest(path)[:16]

    def of_files(self, files: Mapping[str, Path]) -> str:
        """Return one digest of several files: of their names (which need not be their paths) and contents."""
        with ThreadPoolExecutor() as threads:  # hashing lets other threads run
            found = dict(zip(files, threads.map(self._digest, files.values()), strict=True))
        return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:16]

    def _digest(self, path: Path) -> str:
        if path.stat().st_size < _LARGE:
            return _sha256(path)
        known, key, state = self._remembered(), str(path.resolve()), _state(path.stat())
        if key in known and known[key][:-1] == state:
            return str(known[key][-1])
        began = time.time_ns()
        digest = _sha256(path)
        if _state(path.stat()) == state and began - max(path.stat().st_mtime_ns, path.stat().st_ctime_ns) > _SETTLED_NS:
            known[key] = [*state, digest]
            with suppress(OSError), atomic_write(self._memory) as temporary:
                temporary.write_text(json.dumps({name: known[name] for name in list(known) if Path(name).is_file()}))
        return digest

    def _remembered(self) -> dict[str, list[object]]:
        if self._known is None:
            self._known = {}
            with suppress(OSError, ValueError):
                self._known = dict(json.loads(self._memory.read_text(encoding="utf-8")))
        return self._known


def _state(stat: os.stat_result) -> list[object]:
    return [stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
