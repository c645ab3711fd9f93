"""Copies of fast-downward's shared library: one per game in play.

The library holds its planning task in global variables, so two games need two copies that are different files for the
dynamic loader. `fast_downward.load_lib` copies all 34 MB, of which 33 are debugging sections; the loader reads only the
loadable segments (1.1 MB), so this module copies just those: the same machine code, a millisecond instead of a tenth of
a second, and memory for dozens of games.

A copy is never closed: unloading one (`fast_downward.close_lib`) can crash the process at exit. Unused copies are
kept here for the next game.
"""

import ctypes
import struct
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

_idle: list[Any] = []


def take_library() -> Any:
    """Return a library for exclusive use, ready for `load_sas`."""
    if _idle:
        return _idle.pop()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "libdownward.so"
        path.write_bytes(_loadable_image())
        library = ctypes.CDLL(str(path))
    # What differs from the types that ctypes assumes: int results, and arguments as they come.
    library.check_goal.restype = ctypes.c_bool
    library.apply_operator.argtypes = [ctypes.c_size_t, ctypes.c_void_p]
    return library


def give_back_library(library: Any) -> None:
    """Free the library's task and keep the library for the next game."""
    library.cleanup()
    _idle.append(library)


@lru_cache(maxsize=1)
def _loadable_image() -> bytes:
    """Return the library file up to the end of its last loadable segment; the loader reads no section table."""
    from fast_downward.interface import DOWNWARD_LIB_PATH

    content = Path(DOWNWARD_LIB_PATH).read_bytes()
    if content[:6] != b"\x7fELF\x02\x01":  # Not a little-endian 64-bit ELF file: load it as it is.
        return content
    (table,) = struct.unpack_from("<Q", content, 32)
    size, count = struct.unpack_from("<HH", content, 54)
    end = table + size * count
    for index in range(count):
        kind, _, offset, _, _, length = struct.unpack_from("<IIQQQQ", content, table + index * size)
        if kind == 1:  # PT_LOAD
            end = max(end, offset + length)
    return content[:end]
