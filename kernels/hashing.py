"""Hashes of numbers: an order of rows that depends on what they hold and on nothing else."""

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]


def mixed(numbers: Hashes) -> Hashes:
    """Finalisation of SplitMix64 (Steele, Lea & Flood 2014), a bijection that spreads every bit."""
    z = numbers + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def row_hashes(rows: NDArray[np.float64]) -> Hashes:
    """One hash a row of (n, d) numbers, whatever the order of the columns; O(n d log d)."""
    ordered = np.sort(rows, axis=1) + 0.0  # no minus zero
    hashes = np.zeros(len(rows), dtype=np.uint64)
    for column in np.ascontiguousarray(ordered.T):
        hashes = mixed(hashes ^ column.view(np.uint64))
    return hashes
