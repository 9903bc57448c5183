"""What columns look like to `divmatch explain`: bounded features of ranks and categories, in blocks of rows.

A number becomes r features, one for each level u = 1/B .. (B-1)/B of a distribution function: the
share of its rank that lies below u, which is 0 or 1 where there are no ties. A tied value is spread
evenly over the levels that it covers (the checkerboard, or multilinear, copula; Genest, Neslehova &
Remillard 2014, Bernoulli 20). A category has one feature a word. Both are scaled so that a column of
two values has the same distances in either form.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.execution import execution, in_order
from divmatch.samples import Samples
from divmatch.scaling import HALF

Array = NDArray[np.float64]
BLOCKS = 128  # blocks of a sample: enough for a variance, few enough for their products
OF_WORDS = 6.0  # what the squares of a category's features are divided by; see the module's text
TINY = float(np.finfo(float).tiny)
ROOM = 1 << 27  # bytes of products in flight
TOGETHER = 32  # words at a time, of thousands
GAP = "missing"  # the word for no value


@dataclass(frozen=True)
class Column:
    """A column of a table: its places in the points, and its words if it is a category.

    A ``gap`` is 1 where another column has no value, and called so: `age is missing`.
    """

    name: str
    places: tuple[int, ...]
    words: tuple[str, ...] = ()
    gap: bool = False


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of one sample in blocks, with what each column has of them.

    ``below`` and ``own`` of (numbers, n) are the mass below a row's number and that of its ties;
    ``shares`` of (words, n) hold the categories.
    """

    masses: Array
    starts: NDArray[np.intp]
    below: Array
    own: Array
    shares: Array

    @property
    def blocks(self) -> list[slice]:
        """The rows of every block."""
        ends = [*self.starts[1:].tolist(), len(self.masses)]
        return [slice(a, b) for a, b in zip(self.starts.tolist(), ends, strict=True)]


@dataclass(frozen=True, eq=False)
class Layout:
    """Which features belong to which column; numbers come first, the constant 1 last."""

    levels: Array
    features: tuple[slice, ...]  # of every column
    scales: tuple[float, ...]  # of every column

    @property
    def width(self) -> int:
        """All features, and the constant."""
        return self.features[-1].stop + 1


def columns_of(samples: Samples) -> list[Column]:
    """The columns of a table: a category is one, however many places its words take."""
    labels = samples.columns or tuple(map(str, range(samples.d)))
    _, numbers, start = samples.origin.get("layout", (None, samples.d, samples.d))
    made = [Column(labels[j], (j,), gap=j >= numbers) for j in range(start)]
    for name, size in samples.origin.get("categories", ()):
        places = tuple(range(start, start + size))
        mark = f"{name}="
        words = (
            labels[k].removeprefix(mark) if labels[k].startswith(mark) else GAP for k in places
        )
        made.append(Column(name, places, tuple(words)))
        start += size
    return made


def values_of(column: Column, samples: Samples) -> Array:
    """The numbers (n,) of a column, or its marks as they are in the points (n, words): no copy."""
    if not column.words:
        return samples.points[:, column.places[0]]
    return samples.points[:, column.places[0] : column.places[-1] + 1]


def share_of(column: Column, samples: Samples, words: NDArray[np.intp]) -> Array:
    """1 where a row has one of some words, shape (n,); a share where its word was filled in."""
    made: Array = values_of(column, samples)[:, words].sum(axis=1) / HALF
    return made


def masses_of(column: Column, samples: Samples) -> Array:
    """The mass of every word."""
    made: Array = samples.masses() @ values_of(column, samples) / HALF
    return made


def ranks(values: Array, masses: Array) -> tuple[Array, Array]:
    """The mass below each value, and the mass at it."""
    order = np.argsort(values)
    line, sorted_masses = values[order], masses[order]
    first = np.flatnonzero(np.append(True, line[1:] != line[:-1]))
    tied = np.add.reduceat(sorted_masses, first)
    upto = np.cumsum(tied)
    group = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(line))))
    below, own = np.empty(len(values)), np.empty(len(values))
    below[order], own[order] = (upto - tied)[group], tied[group]
    return below, own


def every_rank(lines: Sequence[Array], masses: Array) -> tuple[Array, Array]:
    """`ranks` of several columns, each of shape (columns, n)."""
    work = 60.0 * len(lines) * len(masses)
    found = list(in_order(lambda values: ranks(values, masses), lines, work=work))
    below, own = (stacked([pair[k] for pair in found], len(masses)) for k in (0, 1))
    return below, own


def levels_of(bins: int) -> Array:
    """The levels between ``bins`` equal shares."""
    return np.arange(1, bins) / bins


def spread(below: Array, own: Array, levels: Array) -> Array:
    """The features of numbers: a number's levels in a row of their own, rows of the sample along it."""
    made = levels[:, None] - below[..., None, :]
    made *= (1.0 / np.maximum(own, TINY))[..., None, :]
    np.clip(made, 0.0, 1.0, out=made)
    return made


def starts_of(rows: int, blocks: int = BLOCKS) -> NDArray[np.intp]:
    """Where blocks of equal size begin, at most ``blocks`` of them."""
    return np.arange(0, rows, max(1, -(-rows // blocks)))


def layout_of(columns: Sequence[Column], words: Sequence[int], bins: int) -> Layout:
    """Features of columns, the categories of which have as many as ``words`` says."""
    features, start = [], 0
    sizes = [size if c.words else bins - 1 for c, size in zip(columns, words, strict=True)]
    for size in sizes:
        features.append(slice(start, start + size))
        start += size
    scales = [(OF_WORDS if c.words else bins - 1) ** -0.5 for c in columns]
    return Layout(levels_of(bins), tuple(features), tuple(scales))


def frequent(masses: Array, most: int) -> list[NDArray[np.intp]]:
    """The groups of words that dependence knows: the most common ones, and the rest as one."""
    if len(masses) <= most:
        return [np.array([k]) for k in range(len(masses))]
    order = np.argsort(-masses, kind="stable")
    return [*(np.array([k]) for k in np.sort(order[: most - 1])), np.sort(order[most - 1 :])]


def stacked(parts: list[Array], rows: int) -> Array:
    """Numbers of each row, shape (parts, rows)."""
    return np.array(parts).reshape(len(parts), rows)


def products(rows: Rows, layout: Layout, panel: slice) -> Array:
    """Sum of mass·z·zᵀ in every block, of the panel's features with those from its start on.

    Shape (blocks, panel, width − panel.start). The last feature is 1: with it, sums and masses.
    """
    blocks, size = rows.blocks, panel.stop - panel.start
    made = np.empty((len(blocks), size, layout.width - panel.start))

    def fill(item: tuple[int, slice]) -> None:
        place, part = item
        z = features(rows, layout, part)[panel.start :]
        made[place] = (z[:size] * rows.masses[part]) @ z.T

    work = 4.0 * len(rows.masses) * made.shape[1] * made.shape[2]
    for _ in in_order(fill, list(enumerate(blocks)), work=work):
        pass
    return made


def sums(rows: Rows, layout: Layout) -> Array:
    """Sum of mass·z in every block, shape (blocks, width): the last is the block's mass."""

    def total(part: slice) -> Array:
        made: Array = features(rows, layout, part) @ rows.masses[part]
        return made

    return np.array(list(in_order(total, rows.blocks, work=4.0 * len(rows.masses) * layout.width)))


def features(rows: Rows, layout: Layout, part: slice) -> Array:
    """The features of some rows, shape (width, rows), the constant last."""
    numbers = len(rows.below) * len(layout.levels)
    z = np.empty((layout.width, part.stop - part.start))
    spaced = spread(rows.below[:, part], rows.own[:, part], layout.levels)
    z[:numbers] = spaced.reshape(numbers, z.shape[1])
    z[numbers:-1] = rows.shares[:, part]
    z[-1] = 1.0
    return z


def panels(layout: Layout, blocks: int) -> list[tuple[int, int]]:
    """Ranges of columns whose products fit into memory together."""
    room = min(ROOM, execution().memory // 4) // (8 * blocks * layout.width)
    made, start = [], 0
    for j, own in enumerate(layout.features):
        if own.stop - layout.features[start].start > room and j > start:
            made.append((start, j))
            start = j
    return [*made, (start, len(layout.features))]
