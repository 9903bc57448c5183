"""Sums over a coupling of two weighted samples, streamed over tiles: nothing here keeps n × m numbers.

With a cost C, a regularisation eps and the potential g of the columns, the logits are
z_ij = log b_j + (g_j − C_ij) / eps. Their row log-sums L give the best potential of the rows,
−eps L (softmin), and the plan is aᵢ exp(z_ij − Lᵢ). One sweep, with one exponential an entry, gives
both L and the column sums of the plan: a whole Sinkhorn iteration.

The squared Euclidean cost is made by matrix products of centred rows; the others, and all small
problems, from differences. Costs that are dear to make are kept where they fit the memory. Results
of blocks are added in a fixed order: same digits for any number of threads.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.backend import to_device, to_host, twin, uses_gpu
from divmatch.kernels.execution import execution, in_order, steps_of
from divmatch.kernels.pairwise import Grid, Profile

Array = NDArray[np.float64]
Places = NDArray[np.int32]

COMPILED_FROM = 1.5e7  # n·m·(d + 12) operations a sweep from which loading the compiled twin pays
KEPT_FROM = 48  # columns from which a squared distance costs more to make than to read
SAMPLED = 8  # tiles of some rows, from whose entries those of all are foreseen
PRODUCT_ROWS, FACTOR_COLUMNS = 16, 2048  # of a product at least, at most: it packs what it reads
TILES = 8  # of a block: enough to drown the cost of handing it to a thread


@dataclass(frozen=True, eq=False)
class Sweep:
    """Row log-sums L (n,) of the logits, and the column sums (m,) of the plan."""

    levels: Array
    columns: Array


@dataclass(frozen=True, eq=False)
class Entries:
    """The large entries of a plan in compressed rows: where each row starts, columns, values."""

    starts: NDArray[np.int64]
    columns: NDArray[np.int32]
    values: Array

    def covers(self, m: int) -> bool:
        """Whether every row and every one of m columns has an entry."""
        seen = np.bincount(self.columns, minlength=m)
        return bool(np.diff(self.starts).min() > 0 and seen.min() > 0)


class Coupling:
    """The plans of one pair of samples for any eps and any potential of the columns.

    ``part`` says that it is part of a larger problem, for which the compiled twin is loaded anyway.
    """

    def __init__(
        self, profile: Profile, x: Array, y: Array, a: Array, b: Array, *, part: bool = False
    ) -> None:
        self.n, self.m = len(x), len(y)
        self.a, self.b = a, b
        self.log_b = np.log(b)
        self.work = float(self.n) * self.m * (x.shape[1] + 12)
        self.twin = twin(self.work, 0.0 if part else COMPILED_FROM)
        self.sweeps = self.single_sweeps = 0
        self.compiled = part or self.work >= COMPILED_FROM
        self.by_products = self.compiled and profile == Profile("distance", 2.0)
        self.squares_x = self.squares_y = None
        self._levels = 1.0, np.zeros(self.n)
        if self.by_products:
            centre = 0.5 * (a @ x + b @ y)
            x, y = x - centre, y - centre
            self.squares_x = np.einsum("ij,ij->i", x, x)
            self.squares_y = np.einsum("ij,ij->i", y, y)
            self.factors = {kind: self._factors(x, y, kind) for kind in (np.float32, np.float64)}
            self.reach = 2.0 * float(np.sqrt(self.squares_x.max() * self.squares_y.max()))
            largest = self.reach + float(self.squares_x.max() + self.squares_y.max())
            self.rounding = 2.0**-52 * (x.shape[1] + 4) * largest
        else:
            self.rounding = 0.0
            self.grid = Grid(profile, x, y)
        self.rows = max(PRODUCT_ROWS, self.twin.COUPLING_ENTRIES // self.m // 4 * 4)
        dear = not self.by_products or x.shape[1] >= KEPT_FROM
        fits = 8 * self.n * self.m <= execution().memory // 2
        self.kept: dict[int, Any] | None = {} if dear and fits else None

    def release(self) -> None:
        """Forget the costs that were kept."""
        self.kept = None if self.kept is None else {}

    def floor(self, eps: float) -> float:
        """The marginal error that rounding to float32 leaves; inf where there are no such tiles."""
        made = self.by_products and self.kept is None
        return 2.0**-23 * (1.0 + self.reach / eps) if made else np.inf

    def sweep(
        self,
        g: Array,
        eps: float,
        keep: Array | None = None,
        gain: float = 1.0,
        *,
        single: bool = False,
    ) -> Sweep:
        """L, and Σᵢ aᵢ exp(z_ij − Fᵢ) with Fᵢ = keepᵢ + gain Lᵢ; F = L where none is given.

        ``single`` makes products and exponentials in float32, which takes half of the time.
        """
        before, levels = self._levels  # a row is shifted by what its log-sum is likely to be
        levels = levels * (before / eps)
        kind = np.float32 if single else np.float64
        scale, shift, offset = self._logits(g, eps)
        shift_, weights = self._moved(shift.astype(kind)), self._moved(self.a)
        rest = [
            self._moved(v) for v in (offset, levels, np.zeros(self.n) if keep is None else keep)
        ]

        def block(rows: slice) -> tuple[Array, Array]:
            found, sums = [], np.zeros(self.m)
            for own, tile in self._tiles(rows, kind):
                o, before, kept = (v[own] for v in rest)
                levels, columns = self.twin.coupled_sums(
                    tile, scale, shift_, o, before, weights[own], kept, gain
                )
                found.append(to_host(levels))
                sums += to_host(columns)
            return np.concatenate(found), sums

        parts, total = [], np.zeros(self.m)
        for found, sums in in_order(block, self._blocks(), work=self.work):
            parts.append(found)
            total += sums
        self.sweeps += 1
        self.single_sweeps += single
        made = Sweep(np.concatenate(parts), total)
        self._levels = eps, made.levels
        return made

    def moments(self, g: Array, eps: float, levels: Array, factors: Array) -> Array:
        """Σⱼ e log e, Σⱼ s e and Σⱼ s e log e of every row, with e = exp(z_ij − levelsᵢ) and factors sⱼ."""
        scale, shift, offset = self._logits(g, eps)
        shift_, factors_ = self._moved(shift), self._moved(factors)
        rest = [self._moved(v) for v in (offset, levels)]

        def block(rows: slice) -> Array:
            return np.concatenate(
                [
                    to_host(
                        self.twin.row_moments(t, scale, shift_, *(v[own] for v in rest), factors_)
                    )
                    for own, t in self._tiles(rows)
                ]
            )

        return np.concatenate(list(in_order(block, self._blocks(), work=self.work)))

    def largest(self, g: Array, eps: float, levels: Array, k: int) -> tuple[Places, Array]:
        """Columns and shares exp(z_ij − levelsᵢ) of the k largest of every row; shapes (n, k)."""
        scale, shift, offset = self._logits(g, eps)
        shift_ = self._moved(shift)

        def block(rows: slice) -> tuple[Array, ...]:
            found = [
                tuple(map(to_host, self.twin.largest_entries(tile, scale, shift_, k)))
                for _, tile in self._tiles(rows)
            ]
            return tuple(np.concatenate(part) for part in zip(*found, strict=True))

        parts = list(in_order(block, self._blocks(), work=self.work))
        places, values = (np.concatenate(part) for part in zip(*parts, strict=True))
        values -= (levels - offset)[:, None]
        return places, np.exp(values, out=values)

    def transforms(self, g: Array) -> tuple[Array, Array]:
        """fᵢ = minⱼ (C_ij − gⱼ) and minᵢ (C_ij − fᵢ): no pair's potentials are above its cost."""
        scale, shift, offset = self._logits(g, 1.0)
        shift = shift - self.log_b
        shift_ = self._moved(shift)

        def block(rows: slice) -> tuple[Array, Array]:
            found, columns = [], np.full(self.m, -np.inf)
            for _, tile in self._tiles(rows):
                one, other = map(to_host, self.twin.tops(tile, scale, shift_))
                found.append(one)
                np.maximum(columns, other, out=columns)
            return np.concatenate(found), columns

        parts, columns = [], np.full(self.m, -np.inf)
        for found, some in in_order(block, self._blocks(), work=self.work):
            parts.append(found)
            np.maximum(columns, some, out=columns)
        return -(np.concatenate(parts) + offset), g - columns

    def means(self, g: Array, eps: float, values: Array) -> Array:
        """Σⱼ exp(z_ij) valuesⱼ / Σⱼ exp(z_ij), shape (n, k): where the plan of g sends each row, on average.

        Rows may be others than those that g comes from.
        """
        scale, shift, _ = self._logits(g, eps)
        shift_, values_ = self._moved(shift), self._moved(values)

        def block(rows: slice) -> Array:
            parts = [
                self.twin.row_means(t, scale, shift_, values_)[1] for _, t in self._tiles(rows)
            ]
            return np.concatenate([to_host(part) for part in parts])

        return np.concatenate(list(in_order(block, self._blocks(), work=self.work)))

    def entries(
        self, g: Array, eps: float, levels: Array, least: float | Array, most: int
    ) -> Entries | None:
        """The shares exp(z_ij − levelsᵢ) above ``least``; None if more than ``most`` are to be expected."""
        scale, shift, offset = self._logits(g, eps)
        shift_, bars = self._moved(shift), self._moved(levels + np.log(least) - offset)

        def block(rows: slice) -> tuple[Any, ...]:
            found = [
                tuple(map(to_host, self.twin.entries_above(tile, scale, shift_, bars[own])))
                for own, tile in self._tiles(rows)
            ]
            counts, columns, values = (np.concatenate(part) for part in zip(*found, strict=True))
            values -= np.repeat((levels - offset)[rows], counts)
            return counts, columns, np.exp(values, out=values)

        if self._foreseen(block) > 1.25 * most:  # of a dense plan even some blocks are much memory
            return None
        # room for all that are allowed: what is not written to is no memory
        most = min(most, self.n * self.m)
        columns, values = np.empty(most, dtype=np.int32), np.empty(most)
        parts, total = [], 0
        for counts, *part in in_order(block, self._blocks(), work=self.work):
            first, total = total, total + len(part[0])
            if total > most:
                return None
            parts.append(counts)
            columns[first:total], values[first:total] = part
        starts = np.concatenate([[0], np.cumsum(np.concatenate(parts))])
        return Entries(starts, columns[:total], values[:total])

    def _foreseen(self, block: Callable[[slice], tuple[Any, ...]]) -> float:
        """How many entries all rows have, going by some that are spread over them."""
        tiles = list(steps_of(self.n, self.rows))
        some = tiles[:: max(1, len(tiles) // SAMPLED)]
        if len(tiles) < SAMPLED * TILES:
            return 0.0
        total = sum(len(block(rows)[1]) for rows in some)
        return self.n * total / sum(rows.stop - rows.start for rows in some)

    def _logits(self, g: Array, eps: float) -> tuple[float, Array, Array]:
        """Scale, shift and offset: z_ij = scale t_ij + shift_j + offset_i for the tiles t."""
        shift = self.log_b + g / eps
        if self.squares_x is None or self.squares_y is None:
            return -1.0 / eps, shift, np.zeros(self.n)
        return 1.0 / eps, shift - self.squares_y / eps, -self.squares_x / eps

    def _blocks(self) -> Iterator[slice]:
        return steps_of(self.n, self.rows * TILES)

    def _tiles(self, block: slice, kind: Any = np.float64) -> Iterator[tuple[slice, Any]]:
        """Tiles of whole rows; a tile is overwritten by the next one unless it is kept."""
        room, height = None, self.rows * (8 // np.dtype(kind).itemsize)
        for own in steps_of(block.stop, height, block.start):
            if self.kept is not None:
                if own.start not in self.kept:
                    self.kept[own.start] = self._tile(own, None, kind)
                yield own, self.kept[own.start]
                continue
            if self.by_products and room is None and not uses_gpu(self.work):
                room = np.empty((min(height, block.stop - block.start), self.m), dtype=kind)
            yield own, self._tile(own, room, kind)

    def _tile(self, rows: slice, room: Any, kind: Any) -> Any:
        if not self.by_products:
            return self.grid.tile(rows, slice(0, self.m))
        left, blocks = self.factors[kind]
        if room is None and uses_gpu(self.work):
            return left[rows] @ blocks[0][1]
        shape = rows.stop - rows.start, self.m
        tile = np.empty(shape, dtype=kind) if room is None else room[: shape[0]]
        for own, right in blocks:
            np.matmul(left[rows], right, out=tile[:, own])
        return tile

    def _factors(self, x: Array, y: Array, kind: Any) -> tuple[Any, list[tuple[slice, Any]]]:
        """The rows, and twice the columns in blocks that a product reads from the cache."""
        step = self.m if uses_gpu(self.work) else FACTOR_COLUMNS
        blocks = [
            (own, self._moved(np.ascontiguousarray(2.0 * y[own].T, dtype=kind)))
            for own in steps_of(self.m, step)
        ]
        return self._moved(x.astype(kind)), blocks

    def _moved(self, array: Array) -> Any:
        return to_device(array, self.work)
