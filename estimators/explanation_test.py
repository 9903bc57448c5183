"""Is there anything to explain? A permutation test that exchanges blocks of rows, exact in level."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from divmatch.estimators.explanation_features import (
    Layout,
    Rows,
    columns_of,
    every_rank,
    frequent,
    layout_of,
    masses_of,
    panels,
    products,
    share_of,
    stacked,
    sums,
    values_of,
)
from divmatch.kernels.execution import one_blas_thread
from divmatch.permutations import null_of
from divmatch.randomness import stream
from divmatch.record import Test
from divmatch.samples import Samples
from divmatch.sequential import monte_carlo_se

Array = NDArray[np.float64]
FEWEST = 64  # blocks of the smaller sample
MOST = 256  # blocks of the larger one that are exchanged; its other rows keep their label
TOGETHER = 64  # splits at a time


def whole_test(x: Samples, y: Samples, *, bins: int, permutations: int, seed: int = 0) -> Test:
    """Whether the columns and their pairs differ more than any split of the pooled rows makes them.

    The statistic is that of `explained`, without a correction of its bias and with the levels of
    both parts from the pooled rows, which no split changes. Rows are put at random into blocks of one
    size, and blocks change labels: a subgroup of all permutations, so that p = (1 + #{T_b >= T}) / (B +
    1) is exact; and a split costs no more for many rows.
    """
    rng = stream(seed, "explain", "blocks")
    with one_blas_thread():
        x, y = (one.take(rng.permutation(one.n)) for one in (x, y))
        blocks = blocks_of(x.n, y.n)
        draws = np.tile(blocks.labels, (permutations + 1, 1))
        for split in draws[1:]:
            split[blocks.moved] = rng.permutation(blocks.labels[blocks.moved])
        values = statistics(*pooled_rows(x, y, blocks.starts, bins), draws)
    bar = values[0] - 1e-12 * max(abs(values[0]), 1e-3)
    count = int(np.count_nonzero(~(values[1:] < bar)))
    return Test(
        p_value=(1 + count) / (1 + permutations),
        method="permutation",
        permutations=permutations,
        null=null_of(values[1:]),
        error=monte_carlo_se(count, permutations),
    )


def statistics(rows: Rows, layout: Layout, labels: NDArray[np.bool_]) -> Array:
    """T of every split: sum of M and D; ``labels`` (splits, blocks) are True where a block is of P."""
    made = np.zeros(len(labels))
    total = sums(rows, layout)
    count = len(rows.starts)
    for start, stop in panels(layout, count):
        first = layout.features[start].start
        tables = products(rows, layout, slice(first, layout.features[stop - 1].stop))
        for j in range(start, stop):
            own = layout.features[j]
            table = tables[:, own.start - first : own.stop - first, own.stop - first :]
            for at in range(0, len(labels), TOGETHER):
                part = slice(at, at + TOGETHER)
                made[part] += _of_column(table, total, layout, j, labels[part])
    return made


def _of_column(
    table: Array, total: Array, layout: Layout, j: int, labels: NDArray[np.bool_]
) -> Array:
    """M of a column and D of its pairs with those behind it."""
    own = layout.features[j]
    flat = table.reshape(len(table), -1)
    means, joint = [], []
    for side in (labels.astype(np.float64), (~labels).astype(np.float64)):
        mass = side @ total[:, -1]
        with np.errstate(divide="ignore", invalid="ignore"):  # a side without weight is undefined
            means.append((side @ total[:, own.start :]) / mass[:, None])
            joint.append((side @ flat / mass[:, None]).reshape(len(side), *table.shape[1:]))
    size = own.stop - own.start
    alone = np.sum((means[0][:, :size] - means[1][:, :size]) ** 2, axis=1)
    for table_of, mean in zip(joint, means, strict=True):
        table_of -= mean[:, :size, None] * mean[:, None, size:]
    scales = np.zeros(table.shape[2])
    for k in range(j + 1, len(layout.features)):
        other = layout.features[k]
        scales[other.start - own.stop : other.stop - own.stop] = layout.scales[k] ** 2
    gaps = joint[0] - joint[1]
    together = np.einsum("brf,brf,f->b", gaps, gaps, scales)
    made: Array = layout.scales[j] ** 2 * (alone + together)
    return made


def block_size(n: int, m: int) -> int:
    """Rows of a block: the smaller sample has at least 64 of them, or as many as rows."""
    return max(1, min(n, m) // FEWEST)


@dataclass(frozen=True, eq=False)
class Blocks:
    """Where the blocks of the pooled rows begin, which are of P, and which may change that."""

    starts: NDArray[np.intp]
    labels: NDArray[np.bool_]
    moved: NDArray[np.bool_]


def blocks_of(n: int, m: int) -> Blocks:
    """Blocks of one size from either sample; what is left over of each is a block that stays."""
    size = block_size(n, m)
    starts: list[int] = []
    labels: list[bool] = []
    moved: list[bool] = []
    for first, rows in ((0, n), (n, m)):
        whole = min(rows // size, MOST)
        own = [first + k * size for k in range(whole + (rows > whole * size))]
        starts += own
        labels += [first == 0] * len(own)
        moved += [k < whole for k in range(len(own))]
    return Blocks(np.array(starts), np.array(labels), np.array(moved))


def pooled_rows(x: Samples, y: Samples, starts: NDArray[np.intp], bins: int) -> tuple[Rows, Layout]:
    """The features of the pooled rows, by ranks and categories that no split changes."""
    masses = np.concatenate([one.masses() * one.n for one in (x, y)])
    masses /= masses.sum()
    words, shares, lines = [], [], []
    columns = columns_of(x)
    for column in columns:
        if not column.words:
            words.append(0)
            lines.append(np.concatenate([values_of(column, one) for one in (x, y)]))
            continue
        groups = frequent(x.n * masses_of(column, x) + y.n * masses_of(column, y), bins)
        words.append(len(groups))
        shares += [
            np.concatenate([share_of(column, one, group) for one in (x, y)]) for group in groups
        ]
    rows = Rows(masses, starts, *every_rank(lines, masses), stacked(shares, len(masses)))
    return rows, layout_of(columns, words, bins)
