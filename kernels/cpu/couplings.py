"""Compiled twin of `divmatch.kernels.gpu.couplings`: one exponential an entry, four rows at a time."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.cpu.elementary import LOG2_E, bounded_power
from divmatch.kernels.cpu.jit import compiled

Array = NDArray[np.float64]

COUPLING_ENTRIES = 49_152  # of a tile, so that it stays in the cache
# sums between these lost no digits to a poor shift
TRUSTED = {np.float32: (1e-14, 1e30), np.float64: (1e-250, 1e250)}


def coupled_sums(
    tile: Array, scale: float, shift: Array, offset: Array, level: Array, weights: Array,
    keep: Array, gain: float,
) -> tuple[Array, Array]:  # fmt: skip
    """See `divmatch.kernels.couplings`."""
    kind = tile.dtype.type
    found, sums = np.empty(len(tile)), np.zeros(tile.shape[1], dtype=kind)
    binary = kind(scale * LOG2_E), shift * kind(LOG2_E)
    _coupled_sums(tile, *binary, offset, level, weights, keep, gain, TRUSTED[kind], found, sums)
    return found, sums


@compiled
def _coupled_sums(
    tile: Array, scale: float, shift: Array, offset: Array, level: Array, weights: Array,
    keep: Array, gain: float, trusted: tuple[float, float], found: Array, sums: Array,
) -> None:  # fmt: skip
    """Logits are in powers of two; a group of four rows shares one sweep over the column sums."""
    n, m = tile.shape
    kind = tile.dtype.type
    e, w = np.empty((4, m), dtype=tile.dtype), np.empty(4, dtype=tile.dtype)
    for first in range(0, n, 4):
        group = min(4, n - first)
        for r in range(group):
            i = first + r
            row, out = tile[i], e[r]
            top, total = kind((level[i] - offset[i]) * LOG2_E), kind(0)
            for j in range(m):
                value = bounded_power(scale * row[j] + (shift[j] - top))
                out[j] = value
                total += value
            if not (total > trusted[0] and total < trusted[1]):
                top, total = scale * row[0] + shift[0], kind(0)
                for j in range(m):
                    top = max(top, scale * row[j] + shift[j])
                for j in range(m):
                    value = bounded_power(scale * row[j] + (shift[j] - top))
                    out[j] = value
                    total += value
            found[i] = (top + math.log2(total)) / LOG2_E + offset[i]
            w[r] = weights[i] * math.exp(found[i] - keep[i] - gain * found[i]) / total
        if group == 4:
            e0, e1, e2, e3 = e[0], e[1], e[2], e[3]
            w0, w1, w2, w3 = w[0], w[1], w[2], w[3]
            for j in range(m):
                sums[j] += (w0 * e0[j] + w1 * e1[j]) + (w2 * e2[j] + w3 * e3[j])
        else:
            for r in range(group):
                for j in range(m):
                    sums[j] += w[r] * e[r, j]


def mirrored_sums(
    tile: Array, scale: float, shift: Array, offset: Array, own: Array, other: Array
) -> tuple[Array, Array]:
    """See `divmatch.kernels.symmetric`."""
    kind = tile.dtype.type
    rows, columns = np.empty(len(tile)), np.zeros(tile.shape[1], dtype=kind)
    binary = kind(scale * LOG2_E), shift * kind(LOG2_E), (offset * LOG2_E).astype(kind)
    _mirrored_sums(tile, *binary, own, other, rows, columns)
    return rows, columns


@compiled
def _mirrored_sums(
    tile: Array, scale: float, shift: Array, offset: Array, own: Array, other: Array, rows: Array,
    columns: Array,
) -> None:  # fmt: skip
    """Sums of 2^z_ij by the weights of the columns and of the rows, two rows at a time."""
    n, m = tile.shape
    zero = tile.dtype.type(0)
    for i in range(0, n - 1, 2):
        t0, t1 = tile[i], tile[i + 1]
        o0, o1 = offset[i], offset[i + 1]
        w0, w1 = own[i], own[i + 1]
        r0, r1 = zero, zero
        for j in range(m):
            e0 = bounded_power(scale * t0[j] + (shift[j] + o0))
            e1 = bounded_power(scale * t1[j] + (shift[j] + o1))
            r0 += other[j] * e0
            r1 += other[j] * e1
            columns[j] += w0 * e0 + w1 * e1
        rows[i], rows[i + 1] = r0, r1
    if n % 2 == 1:
        row, shifted, weight, total = tile[n - 1], offset[n - 1], own[n - 1], zero
        for j in range(m):
            e = bounded_power(scale * row[j] + (shift[j] + shifted))
            total += other[j] * e
            columns[j] += weight * e
        rows[n - 1] = total


def row_moments(
    tile: Array, scale: float, shift: Array, offset: Array, level: Array, factors: Array
) -> Array:
    """See `divmatch.kernels.couplings`."""
    found = np.empty((len(tile), 3))
    tops = (level - offset) * LOG2_E
    _row_moments(tile, scale * LOG2_E, shift * LOG2_E, tops, factors, found)
    return found


@compiled
def _row_moments(
    tile: Array, scale: float, shift: Array, tops: Array, factors: Array, found: Array
) -> None:
    """Σⱼ 2^z z ln 2 of every row, and Σⱼ 2^z, Σⱼ 2^z z ln 2 with factors; z = scale t + shift − top."""
    for i in range(tile.shape[0]):
        row, top, total, mass, part = tile[i], tops[i], 0.0, 0.0, 0.0
        for j in range(tile.shape[1]):
            z = scale * row[j] + (shift[j] - top)
            e = bounded_power(z)
            kept = factors[j] * e
            total += e * z
            mass += kept
            part += kept * z
        found[i, 0], found[i, 1], found[i, 2] = total / LOG2_E, mass, part / LOG2_E


def linked_sums(
    starts: NDArray[np.int64], columns: NDArray[np.int32], costs: Array, scale: float, shift: Array,
    weights: Array, keep: Array, gain: float,
) -> tuple[Array, Array]:  # fmt: skip
    """See `divmatch.kernels.links`."""
    found, sums = np.empty(len(starts) - 1), np.zeros(len(shift))
    _linked_sums(starts, columns, costs, scale, shift, weights, keep, gain, found, sums)
    return found, sums


@compiled
def _linked_sums(
    starts: Any, columns: Any, costs: Array, scale: float, shift: Array, weights: Array, keep: Array,
    gain: float, found: Array, sums: Array,
) -> None:  # fmt: skip
    """Row log-sums of scale c + shift over the pairs of every row, and the column sums of the plan."""
    e = np.empty(np.diff(starts).max())
    for i in range(len(starts) - 1):
        own, value = columns[starts[i] : starts[i + 1]], costs[starts[i] : starts[i + 1]]
        top, total = -np.inf, 0.0
        for k in range(len(own)):
            e[k] = scale * value[k] + shift[own[k]]
            top = max(top, e[k])
        for k in range(len(own)):
            e[k] = bounded_power((e[k] - top) * LOG2_E)
            total += e[k]
        found[i] = top + math.log(total)
        weight = weights[i] * math.exp(found[i] - keep[i] - gain * found[i]) / total
        for k in range(len(own)):
            sums[own[k]] += weight * e[k]


def entries_above(
    tile: Array, scale: float, shift: Array, bars: Array
) -> tuple[NDArray[np.int64], NDArray[np.int32], Array]:
    """See `divmatch.kernels.couplings`."""
    counts = np.empty(len(tile), dtype=np.int64)
    _count_above(tile, scale, shift, bars, counts)
    total = int(counts.sum())
    columns, values = np.empty(total, dtype=np.int32), np.empty(total)
    _fill_above(tile, scale, shift, bars, columns, values)
    return counts, columns, values


@compiled
def _count_above(tile: Array, scale: float, shift: Array, bars: Array, counts: Any) -> None:
    """How many entries of every row lie above its bar."""
    for i in range(tile.shape[0]):
        row, bar, count = tile[i], bars[i], 0
        for j in range(tile.shape[1]):
            count += 1 if scale * row[j] + shift[j] > bar else 0
        counts[i] = count


@compiled
def _fill_above(
    tile: Array, scale: float, shift: Array, bars: Array, columns: Any, values: Array
) -> None:
    """The entries above the bars: their columns and values."""
    place = 0
    for i in range(tile.shape[0]):
        row, bar = tile[i], bars[i]
        for j in range(tile.shape[1]):
            value = scale * row[j] + shift[j]
            if value > bar:
                columns[place] = j
                values[place] = value
                place += 1


def largest_entries(
    tile: Array, scale: float, shift: Array, k: int
) -> tuple[NDArray[np.int32], Array]:
    """See `divmatch.kernels.couplings`."""
    places, values = np.empty((len(tile), k), dtype=np.int32), np.empty((len(tile), k))
    _largest_entries(tile, scale, shift, places, values)
    return places, values


@compiled
def _largest_entries(tile: Array, scale: float, shift: Array, places: Any, values: Array) -> None:
    """The k largest scale t_ij + shift_j of every row, the first of equal ones first."""
    k = places.shape[1]
    values[:] = -np.inf
    for i in range(tile.shape[0]):
        row, bound = tile[i], -np.inf
        for j in range(tile.shape[1]):
            value = scale * row[j] + shift[j]
            if value <= bound:
                continue
            place = k - 1
            while place > 0 and values[i, place - 1] < value:
                values[i, place] = values[i, place - 1]
                places[i, place] = places[i, place - 1]
                place -= 1
            values[i, place] = value
            places[i, place] = j
            bound = values[i, k - 1]


def tops(tile: Array, scale: float, shift: Array) -> tuple[Array, Array]:
    """See `divmatch.kernels.couplings`."""
    rows, columns = np.empty(len(tile)), np.full(tile.shape[1], -np.inf)
    _tops(tile, scale, shift, rows, columns)
    return rows, columns


@compiled
def _tops(tile: Array, scale: float, shift: Array, rows: Array, columns: Array) -> None:
    """The largest z_ij = scale t_ij + shift_j of every row, and of every column less its row's."""
    for i in range(tile.shape[0]):
        row, top = tile[i], scale * tile[i, 0] + shift[0]
        for j in range(tile.shape[1]):
            top = max(top, scale * row[j] + shift[j])
        rows[i] = top
        for j in range(tile.shape[1]):
            columns[j] = max(columns[j], scale * row[j] + shift[j] - top)
