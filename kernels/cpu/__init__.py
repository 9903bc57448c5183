"""Numba twins."""

from divmatch.kernels.cpu.couplings import (
    COUPLING_ENTRIES,
    coupled_sums,
    entries_above,
    largest_entries,
    linked_sums,
    row_moments,
    tops,
)
from divmatch.kernels.cpu.crossing import crossing
from divmatch.kernels.cpu.means import row_means
from divmatch.kernels.cpu.merging import distance_walk, sign_walk
from divmatch.kernels.cpu.neighbours import count_within, indexed, nearest, rows_at_once
from divmatch.kernels.cpu.pairwise import (
    bundle_sums,
    shaped,
    squared_distances,
    summed,
    tile,
    tile_shape,
)
from divmatch.kernels.cpu.plane import dominated
from divmatch.kernels.cpu.pulls import exponentials, pull_sums
from divmatch.kernels.cpu.rows import row_sums
from divmatch.kernels.cpu.splits import split_costs
from divmatch.kernels.cpu.walks import riesz_walk

__all__ = [
    "COUPLING_ENTRIES",
    "bundle_sums",
    "count_within",
    "coupled_sums",
    "crossing",
    "distance_walk",
    "dominated",
    "entries_above",
    "exponentials",
    "indexed",
    "largest_entries",
    "linked_sums",
    "nearest",
    "pull_sums",
    "riesz_walk",
    "row_means",
    "row_moments",
    "row_sums",
    "rows_at_once",
    "shaped",
    "sign_walk",
    "split_costs",
    "squared_distances",
    "summed",
    "tile",
    "tile_shape",
    "tops",
]
