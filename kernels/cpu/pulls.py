"""Compiled twin of `divmatch.kernels.gpu.pulls`: a row of distances serves the sums and the pull."""

import math

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.centred import PRODUCT_COLUMNS, prepared
from divmatch.kernels.cpu.elementary import exponential
from divmatch.kernels.cpu.jit import compiled, inlined
from divmatch.kernels.cpu.pairwise import squared_distances

Array = NDArray[np.float64]

GAUSSIAN = 0
KINDS = {"gaussian": GAUSSIAN, "imq": 1, "rq": 2, "distance": 3}


def pull_sums(
    x: Array, y: Array, profile: str, scale: float, weights: Array, carried: Array
) -> tuple[Array, Array]:
    """See `divmatch.kernels.gpu.pulls`. The Gaussian pulls as strongly as it is: one sum makes both."""
    if profile != "gaussian":
        return _summed(x, y, profile, scale, weights, carried)
    both = np.column_stack([weights, carried])
    made = _summed(x, y, profile, scale, both[:, :0], both)[1]
    many = weights.shape[1]
    return made[:, :many], made[:, many:] / (scale * scale)


def _summed(
    x: Array, y: Array, profile: str, scale: float, weights: Array, carried: Array
) -> tuple[Array, Array]:
    """Sums of the kernel and of its strength; of the Gaussian only the second, in units of the first."""
    kind = KINDS[profile]
    if x.shape[1] < PRODUCT_COLUMNS:
        sums, moments = np.empty((len(x), weights.shape[1])), np.empty((len(x), carried.shape[1]))
        columns, by_weight, parts = (np.ascontiguousarray(of.T) for of in (y, weights, carried))
        pulled_rows(kind, scale, x, columns, by_weight, parts, sums, moments)
        return sums, moments
    centre = y.mean(axis=0)
    tile = squared_distances(prepared(x, centre), prepared(y, centre))
    kernels(kind, scale, tile)
    sums = tile @ weights
    if kind != GAUSSIAN:
        strengths(kind, scale, tile)
    return sums, np.asarray(tile @ carried)


def exponentials(exponents: NDArray[np.float32]) -> NDArray[np.float32]:
    """See `divmatch.kernels.gpu.pulls`."""
    exponential_rows(exponents)
    return exponents


@inlined
def kernel_row(kind: int, scale: float, row: Array) -> None:
    """The kernel from squared distances, in their place."""
    if kind == 0:
        factor = -0.5 / (scale * scale)
        for j in range(len(row)):
            row[j] = exponential(factor * row[j])
    elif kind == 1:
        offset = scale * scale
        for j in range(len(row)):
            row[j] = 1.0 / math.sqrt(offset + row[j])
    elif kind == 2:
        factor = 0.5 / (scale * scale)
        for j in range(len(row)):
            row[j] = 1.0 / (1.0 + factor * row[j])
    else:
        for j in range(len(row)):
            row[j] = math.sqrt(row[j])


@inlined
def strength_row(kind: int, scale: float, row: Array) -> None:
    """W = −φ'(r) / r from the kernel, in its place; 0 at distance zero. Of the Gaussian s² w, as it is."""
    if kind == 1:
        for j in range(len(row)):
            row[j] *= row[j] * row[j]
    elif kind == 2:
        factor = 1.0 / (scale * scale)
        for j in range(len(row)):
            row[j] *= row[j] * factor
    elif kind == 3:
        for j in range(len(row)):
            row[j] = -1.0 / row[j] if row[j] > 0.0 else 0.0


@inlined
def square_rows(one: Array, two: Array, columns: Array, rows: Array) -> None:
    """Squared distances of two points from every column; four coordinates a sweep serve both."""
    d, m = columns.shape
    first, second = rows[0], rows[1]
    whole = d - d % 4
    rows[:] = 0.0
    for c in range(0, whole, 4):
        y0, y1, y2, y3 = columns[c], columns[c + 1], columns[c + 2], columns[c + 3]
        p0, p1, p2, p3 = one[c], one[c + 1], one[c + 2], one[c + 3]
        q0, q1, q2, q3 = two[c], two[c + 1], two[c + 2], two[c + 3]
        for j in range(m):
            g0, g1, g2, g3 = p0 - y0[j], p1 - y1[j], p2 - y2[j], p3 - y3[j]
            h0, h1, h2, h3 = q0 - y0[j], q1 - y1[j], q2 - y2[j], q3 - y3[j]
            first[j] += (g0 * g0 + g1 * g1) + (g2 * g2 + g3 * g3)
            second[j] += (h0 * h0 + h1 * h1) + (h2 * h2 + h3 * h3)
    for c in range(whole, d):
        y0, p0, q0 = columns[c], one[c], two[c]
        for j in range(m):
            g0, h0 = p0 - y0[j], q0 - y0[j]
            first[j] += g0 * g0
            second[j] += h0 * h0


@inlined
def products(rows: Array, parts: Array, one: Array, two: Array) -> None:
    """Σⱼ rowⱼ parts_cj of two rows and every c, four of them a sweep."""
    first, second = rows[0], rows[1]
    whole = len(parts) - len(parts) % 4
    for c in range(0, whole, 4):
        p0, p1, p2, p3 = parts[c], parts[c + 1], parts[c + 2], parts[c + 3]
        s0 = s1 = s2 = s3 = t0 = t1 = t2 = t3 = 0.0
        for j in range(len(first)):
            u, v = first[j], second[j]
            s0 += u * p0[j]
            s1 += u * p1[j]
            s2 += u * p2[j]
            s3 += u * p3[j]
            t0 += v * p0[j]
            t1 += v * p1[j]
            t2 += v * p2[j]
            t3 += v * p3[j]
        one[c], one[c + 1], one[c + 2], one[c + 3] = s0, s1, s2, s3
        two[c], two[c + 1], two[c + 2], two[c + 3] = t0, t1, t2, t3
    for c in range(whole, len(parts)):
        part = parts[c]
        s0 = t0 = 0.0
        for j in range(len(first)):
            s0 += first[j] * part[j]
            t0 += second[j] * part[j]
        one[c], two[c] = s0, t0


@compiled
def pulled_rows(
    kind: int,
    scale: float,
    x: Array,
    columns: Array,
    weights: Array,
    carried: Array,
    sums: Array,
    moments: Array,
) -> None:
    """Both sums, of few columns; two rows at a time, of which the last may be one twice."""
    rows = np.empty((2, columns.shape[1]))
    last = x.shape[0] - 1
    for i in range(0, x.shape[0], 2):
        k = min(i + 1, last)
        square_rows(x[i], x[k], columns, rows)
        kernel_row(kind, scale, rows[0])
        kernel_row(kind, scale, rows[1])
        if kind != GAUSSIAN:
            products(rows, weights, sums[i], sums[k])
            strength_row(kind, scale, rows[0])
            strength_row(kind, scale, rows[1])
        products(rows, carried, moments[i], moments[k])


@compiled
def kernels(kind: int, scale: float, tile: Array) -> None:
    """The kernel in the place of squared distances."""
    for i in range(tile.shape[0]):
        kernel_row(kind, scale, tile[i])


@compiled
def strengths(kind: int, scale: float, tile: Array) -> None:
    """W in the place of the kernel."""
    for i in range(tile.shape[0]):
        strength_row(kind, scale, tile[i])


@compiled
def exponential_rows(exponents: NDArray[np.float32]) -> None:
    """Exp in the place of the exponents."""
    for i in range(exponents.shape[0]):
        row = exponents[i]
        for j in range(len(row)):
            row[j] = exponential(min(row[j], np.float32(0.0)))
