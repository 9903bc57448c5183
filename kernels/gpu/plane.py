"""Array-module twin of `divmatch.kernels.cpu.plane`: halves of halves, all blocks of one size at once."""

from typing import Any

from divmatch.kernels.gpu.pairwise import array_module


def dominated(ranks: Any, values: Any) -> Any:
    """Σ of values over the rows j < i with rank_j < rank_i, for every row i; (n, 4).

    ``ranks`` are the whole numbers below n, each once. Time O(n·log n), memory O(n).
    """
    xp = array_module(values)
    n = len(ranks)
    size = 1 << max(0, n - 1).bit_length()
    padded = xp.zeros((size, values.shape[1]))
    padded[:n] = values
    out = xp.zeros_like(padded)
    rows = xp.arange(size)[None, :]  # the rows of each block in the order of their ranks
    rows[0, ranks] = xp.arange(n)
    while size > 1:
        size //= 2
        first = (rows & size) == 0  # in the first half of its block
        sums = xp.cumsum(padded[rows] * first[:, :, None], axis=1)
        out[rows[~first]] += sums[~first]
        halves = rows[first].reshape(-1, size), rows[~first].reshape(-1, size)
        rows = xp.stack(halves, axis=1).reshape(-1, size)
    return out[:n]
