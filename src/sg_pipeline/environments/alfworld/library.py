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
    return _declare(library)


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


def _declare(library: Any) -> Any:
    """Declare the functions that we call, as `fast_downward.load_lib` does, and two more."""
    from fast_downward import Operator
    from textworld.envs.pddl.logic import Atom

    signatures: dict[str, tuple[list[Any], Any]] = {
        "load_sas": ([ctypes.c_char_p], None),
        "cleanup": ([], None),
        "get_applicable_operators_count": ([], ctypes.c_int),
        "get_applicable_operators": ([ctypes.POINTER(Operator)], None),
        "get_state_size": ([], ctypes.c_int),
        "get_state": ([ctypes.POINTER(Atom)], None),
        "get_state_id": ([], ctypes.c_int),
        "set_state_id": ([ctypes.c_int], None),
        "apply_operator": ([ctypes.c_size_t, ctypes.POINTER(Atom)], ctypes.c_size_t),
        "check_goal": ([], ctypes.c_bool),
    }
    for name, (arguments, result) in signatures.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, result
    return library
