"""Named, independent random streams from one seed: a new step never changes another step's numbers."""

from typing import Any

import numpy as np


def stream(seed: int, *names: str | int) -> "np.random.Generator":
    """The generator of the step called ``names`` under ``seed``; same call, same numbers."""
    key = [part for name in names for part in _words(name)]
    sequence: Any = np.random.SeedSequence([seed, *key])
    return np.random.Generator(np.random.PCG64(sequence))


def _words(name: str | int) -> list[int]:
    """The name as whole numbers; its length first, so that no two lists of names collide."""
    if isinstance(name, int):
        return [0, name]
    data = name.encode()
    return [len(data), *(int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4))]
