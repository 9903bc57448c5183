"""Compiled twin of `divmatch.kernels.gpu.pulls`: a row of distances serves the sums and the pull."""

import math

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.cpu.elementary import bounded_exponential, exponential
from divmatch.kernels.cpu.jit import compiled, inlined
from divmatch.kernels.cpu.pairwise import PRODUCT_COLUMNS, prepared, square_row, squared_distances

Array = NDArray[np.float64]

KINDS = {"gaussian": 0, "imq": 1, "rq": 2, "distance": 3}


def pull_sums(
    x: Array, y: Array, profile: str, scale: float, weights: Array, carried: Array
) -> tuple[Array, Array]:
    """See `divmatch.kernels.gpu.pulls`."""
    sums, moments = np.empty((len(x), weights.shape[1])), np.empty((len(x), carried.shape[1]))
    by_weight = np.ascontiguousarray(weights.T)
    if x.shape[1] < PRODUCT_COLUMNS:
        columns, parts = np.ascontiguousarray(y.T), np.ascontiguousarray(carried.T)
        pulled_rows(KINDS[profile], scale, x, columns, by_weight, parts, sums, moments)
        return sums, moments
    centre = y.mean(axis=0)
    strengths = squared_distances(prepared(x, centre), prepared(y, centre))
    strengthened(KINDS[profile], scale, strengths, by_weight, sums)
    return sums, np.asarray(strengths @ carried)


def replaced(squares: Array, profile: str, scale: float) -> Array:
    """See `divmatch.kernels.gpu.pulls`."""
    kernel_rows(KINDS[profile], scale, squares)
    return squares


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
    """W = −φ'(r) / r from the kernel, in its place; 0 at distance zero."""
    if kind == 0:
        factor = 1.0 / (scale * scale)
        for j in range(len(row)):
            row[j] *= factor
    elif kind == 1:
        for j in range(len(row)):
            row[j] *= row[j] * row[j]
    elif kind == 2:
        factor = 1.0 / (scale * scale)
        for j in range(len(row)):
            row[j] *= row[j] * factor
    else:
        for j in range(len(row)):
            row[j] = -1.0 / row[j] if row[j] > 0.0 else 0.0


@inlined
def products(row: Array, parts: Array, out: Array) -> None:
    """Σⱼ rowⱼ parts_cj of every c, four of them a sweep."""
    whole = len(parts) - len(parts) % 4
    for c in range(0, whole, 4):
        p0, p1, p2, p3 = parts[c], parts[c + 1], parts[c + 2], parts[c + 3]
        s0 = s1 = s2 = s3 = 0.0
        for j in range(len(row)):
            value = row[j]
            s0 += value * p0[j]
            s1 += value * p1[j]
            s2 += value * p2[j]
            s3 += value * p3[j]
        out[c], out[c + 1], out[c + 2], out[c + 3] = s0, s1, s2, s3
    for c in range(whole, len(parts)):
        part = parts[c]
        total = 0.0
        for j in range(len(row)):
            total += row[j] * part[j]
        out[c] = total


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
    """Both sums, of few columns."""
    row = np.empty(columns.shape[1])
    for i in range(x.shape[0]):
        square_row(x[i], columns, row)
        kernel_row(kind, scale, row)
        products(row, weights, sums[i])
        strength_row(kind, scale, row)
        products(row, carried, moments[i])


@compiled
def strengthened(kind: int, scale: float, squares: Array, weights: Array, sums: Array) -> None:
    """The sums of the kernel, and w in the place of the squares."""
    for i in range(squares.shape[0]):
        kernel_row(kind, scale, squares[i])
        products(squares[i], weights, sums[i])
        strength_row(kind, scale, squares[i])


@compiled
def kernel_rows(kind: int, scale: float, squares: Array) -> None:
    """The kernel in the place of the squares."""
    for i in range(squares.shape[0]):
        kernel_row(kind, scale, squares[i])


@compiled
def exponential_rows(exponents: NDArray[np.float32]) -> None:
    """Exp in the place of the exponents."""
    for i in range(exponents.shape[0]):
        row = exponents[i]
        for j in range(len(row)):
            row[j] = bounded_exponential(min(row[j], np.float32(0.0)))
