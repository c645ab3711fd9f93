"""The only source of chance: streams named by (run seed, step, node, item).

No stream depends on the order in which work is done, on how many workers do it, or on the clock, so a
resumed run draws exactly what the uninterrupted one would have drawn.
"""

import hashlib

import numpy as np


def stream(seed: int, *names: int | str) -> np.random.Generator:
    """Return the random stream that belongs to `names` under the run's `seed`.

    Args:
        seed: the run's seed.
        names: what the stream is for, from coarse to fine: `stream(seed, step, "rollout", group, item)`.

    Returns:
        A Philox generator; the same arguments give the same numbers on every platform.
    """
    return np.random.Generator(np.random.Philox(key=derive_seed(seed, *names, bits=128)))


def derive_seed(seed: int, *names: int | str, bits: int = 63) -> int:
    """Return an integer seed (of at most `bits` bits) for libraries that want a number."""
    text = "\x1f".join([str(int(seed)), *(f"{type(name).__name__}:{name}" for name in names)])
    digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
    return int.from_bytes(digest, "little") >> (128 - bits)
