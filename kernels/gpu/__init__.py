"""Array-module twins: CuPy on a GPU, NumPy for small inputs and in every test run."""

from divmatch.kernels.gpu.couplings import (
    COUPLING_ENTRIES,
    coupled_sums,
    entries_above,
    largest_entries,
    linked_sums,
    row_moments,
    tops,
)
from divmatch.kernels.gpu.crossing import crossing
from divmatch.kernels.gpu.means import row_means
from divmatch.kernels.gpu.merging import distance_walk, sign_walk
from divmatch.kernels.gpu.neighbours import count_within, indexed, nearest, rows_at_once
from divmatch.kernels.gpu.pairwise import (
    bundle_sums,
    shaped,
    squared_distances,
    summed,
    tile,
    tile_shape,
)
from divmatch.kernels.gpu.plane import dominated
from divmatch.kernels.gpu.pulls import exponentials, pull_sums
from divmatch.kernels.gpu.rows import row_sums
from divmatch.kernels.gpu.splits import split_costs
from divmatch.kernels.gpu.walks import riesz_walk

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
