"""Array-module twin of `divmatch.kernels.cpu.crossing`: all distances of a block."""

from typing import Any

from divmatch.kernels.gpu.neighbours import distances_to
from divmatch.kernels.gpu.pairwise import array_module


def crossing(
    index: Any, queries: Any, reach: Any, radius: Any, values: Any
) -> tuple[Any, Any, Any, Any]:
    """See `divmatch.kernels.neighbours`."""
    xp = array_module(index)
    distances = distances_to(xp, index, queries)
    inside = distances <= radius
    sums = xp.where(inside, values, 0.0).sum(axis=1)
    held = xp.count_nonzero(distances <= reach[:, None], axis=0)
    return xp.count_nonzero(inside, axis=1), sums, xp.count_nonzero(inside, axis=0), held
