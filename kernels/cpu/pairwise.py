"""Compiled twin of `divmatch.kernels.gpu.pairwise`: one fused loop a row, vectorised over columns."""

import math

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.cpu.elementary import exponential
from divmatch.kernels.cpu.jit import compiled, inlined

Array = NDArray[np.float64]

TILE_ROWS = 256
TILE_COLUMNS = 512


def tile(x: Array, y: Array, profile: str, scale: float, scales: tuple[float, ...] = ()) -> Array:
    """See `divmatch.kernels.pairwise`."""
    if profile == "poly":
        base: Array = x @ y.T / x.shape[1] + 1.0
        return base * base * base
    out = np.empty((len(x), len(y)))
    columns = np.ascontiguousarray(y.T)
    if profile == "stein-gaussian":
        stein_gaussian(x, columns, 1.0 / scale**2, out)
    elif profile == "stein-imq":
        stein_imq(x, columns, scale * scale, out)
    elif profile == "cityblock":
        cityblock(x, columns, out)
    elif profile == "laplace":
        laplace(x, columns, -1.0 / scale, out)
    elif profile == "gaussian":
        gaussian(x, columns, -0.5 / scale**2, out)
    elif profile == "imq":
        imq(x, columns, scale * scale, out)
    elif profile == "mix":
        mix(x, columns, -0.5 / (16.0 * scale**2), out)
    elif profile == "bundle":
        bundle(x, columns, *factors(scales), out)
    elif profile == "rq":
        rational(x, columns, 0.5 / scale**2, out)
    elif profile == "matern12":
        matern(x, columns, -1.0 / scale, 0.0, 0.0, out)
    elif profile == "matern32":
        matern(x, columns, -math.sqrt(3.0) / scale, 1.0, 0.0, out)
    elif profile == "matern52":
        matern(x, columns, -math.sqrt(5.0) / scale, 1.0, 1.0 / 3.0, out)
    elif scale == 1.0:
        distance(x, columns, out)
    else:
        squares(x, columns, out)
        if scale != 2.0:
            np.power(out, 0.5 * scale, out=out)  # NumPy's is vectorised, the compiler's not
    return out


@inlined
def square_row(point: Array, columns: Array, row: Array) -> None:
    """|point − yⱼ|² of every column j; four coordinates a sweep, so that the row stays in cache."""
    d, m = columns.shape
    whole = d - d % 4
    row[:] = 0.0
    for c in range(0, whole, 4):
        p0, p1, p2, p3 = point[c], point[c + 1], point[c + 2], point[c + 3]
        for j in range(m):
            g0 = p0 - columns[c, j]
            g1 = p1 - columns[c + 1, j]
            g2 = p2 - columns[c + 2, j]
            g3 = p3 - columns[c + 3, j]
            row[j] += (g0 * g0 + g1 * g1) + (g2 * g2 + g3 * g3)
    for c in range(whole, d):
        for j in range(m):
            gap = point[c] - columns[c, j]
            row[j] += gap * gap


@compiled
def squares(x: Array, columns: Array, out: Array) -> None:
    """|xᵢ − yⱼ|²."""
    for i in range(x.shape[0]):
        square_row(x[i], columns, out[i])


@compiled
def distance(x: Array, columns: Array, out: Array) -> None:
    """|xᵢ − yⱼ|."""
    for i in range(x.shape[0]):
        square_row(x[i], columns, out[i])
        for j in range(out.shape[1]):
            out[i, j] = math.sqrt(out[i, j])


@compiled
def gaussian(x: Array, columns: Array, factor: float, out: Array) -> None:
    """exp(factor |xᵢ − yⱼ|²)."""
    for i in range(x.shape[0]):
        square_row(x[i], columns, out[i])
        for j in range(out.shape[1]):
            out[i, j] = exponential(factor * out[i, j])


@compiled
def imq(x: Array, columns: Array, offset: float, out: Array) -> None:
    """(offset + |xᵢ − yⱼ|²)^(−1/2)."""
    for i in range(x.shape[0]):
        square_row(x[i], columns, out[i])
        for j in range(out.shape[1]):
            out[i, j] = 1.0 / math.sqrt(offset + out[i, j])


@compiled
def rational(x: Array, columns: Array, factor: float, out: Array) -> None:
    """1 / (1 + factor |xᵢ − yⱼ|²)."""
    for i in range(x.shape[0]):
        square_row(x[i], columns, out[i])
        for j in range(out.shape[1]):
            out[i, j] = 1.0 / (1.0 + factor * out[i, j])


@compiled
def matern(
    x: Array, columns: Array, factor: float, linear: float, square: float, out: Array
) -> None:
    """(1 + linear u + square u²) exp(−u) with −u = factor |xᵢ − yⱼ|."""
    for i in range(x.shape[0]):
        square_row(x[i], columns, out[i])
        for j in range(out.shape[1]):
            u = factor * math.sqrt(out[i, j])
            out[i, j] = (1.0 - u * (linear - square * u)) * exponential(u)


@compiled
def mix(x: Array, columns: Array, factor: float, out: Array) -> None:
    """Mean of gaussians whose exponents are factor·{1, 4, 16, 64, 256}: powers of one exponential."""
    for i in range(x.shape[0]):
        square_row(x[i], columns, out[i])
        for j in range(out.shape[1]):
            e1 = exponential(factor * out[i, j])
            e4 = (e1 * e1) * (e1 * e1)
            e16 = (e4 * e4) * (e4 * e4)
            e64 = (e16 * e16) * (e16 * e16)
            e256 = (e64 * e64) * (e64 * e64)
            out[i, j] = 0.2 * (((e256 + e64) + (e16 + e4)) + e1)


@inlined
def stein_row(point: Array, columns: Array, row: Array, scores: Array, lean: Array) -> None:
    """|x − xⱼ|², t·tⱼ and (t − tⱼ)·(x − xⱼ) + d of every column j, which holds xⱼ and then tⱼ."""
    d = columns.shape[0] // 2
    row[:] = 0.0
    scores[:] = 0.0
    lean[:] = d
    for c in range(d):
        p, t = point[c], point[d + c]
        for j in range(columns.shape[1]):
            gap = p - columns[c, j]
            row[j] += gap * gap
            lean[j] += gap * (t - columns[d + c, j])
            scores[j] += t * columns[d + c, j]


@compiled
def stein_gaussian(x: Array, columns: Array, narrow: float, out: Array) -> None:
    """The Stein kernel of exp(−narrow r² / 2)."""
    scores, lean = np.empty(out.shape[1]), np.empty(out.shape[1])
    for i in range(x.shape[0]):
        stein_row(x[i], columns, out[i], scores, lean)
        for j in range(out.shape[1]):
            square = out[i, j]
            out[i, j] = exponential(-0.5 * narrow * square) * (
                scores[j] + narrow * (lean[j] - narrow * square)
            )


@compiled
def stein_imq(x: Array, columns: Array, offset: float, out: Array) -> None:
    """The Stein kernel of (offset + r²)^(−1/2)."""
    scores, lean = np.empty(out.shape[1]), np.empty(out.shape[1])
    for i in range(x.shape[0]):
        stein_row(x[i], columns, out[i], scores, lean)
        for j in range(out.shape[1]):
            inverse = 1.0 / (offset + out[i, j])
            out[i, j] = math.sqrt(inverse) * (
                scores[j] + inverse * (lean[j] - 3.0 * inverse * out[i, j])
            )


@compiled
def laplace(x: Array, columns: Array, factor: float, out: Array) -> None:
    """exp(factor Σ_c |x_ic − y_jc|)."""
    for i in range(x.shape[0]):
        row = out[i]
        row[:] = 0.0
        for c in range(columns.shape[0]):
            for j in range(columns.shape[1]):
                row[j] += abs(x[i, c] - columns[c, j])
        for j in range(out.shape[1]):
            row[j] = exponential(factor * row[j])


def factors(scales: tuple[float, ...]) -> tuple[Array, Array]:
    """What a bundle multiplies squared distances and city-block distances by."""
    half = len(scales) // 2
    return -0.5 / np.square(scales[:half]), -1.0 / np.array(scales[half:])


@inlined
def city_row(point: Array, columns: Array, row: Array) -> None:
    """Σ_c |point_c − y_jc| of every column j."""
    row[:] = 0.0
    for c in range(columns.shape[0]):
        for j in range(columns.shape[1]):
            row[j] += abs(point[c] - columns[c, j])


@compiled
def cityblock(x: Array, columns: Array, out: Array) -> None:
    """Σ_c |x_ic − y_jc|."""
    for i in range(x.shape[0]):
        city_row(x[i], columns, out[i])


@compiled
def bundle(x: Array, columns: Array, near: Array, city: Array, out: Array) -> None:
    """Mean of exp(near |xᵢ − yⱼ|²) and exp(city Σ_c |x_ic − y_jc|) over all factors."""
    row = np.empty(columns.shape[1])
    share = 1.0 / (len(near) + len(city))
    for i in range(x.shape[0]):
        out[i] = 0.0
        square_row(x[i], columns, row)
        for k in range(len(near)):
            for j in range(len(row)):
                out[i, j] += share * exponential(near[k] * row[j])
        city_row(x[i], columns, row)
        for k in range(len(city)):
            for j in range(len(row)):
                out[i, j] += share * exponential(city[k] * row[j])


def bundle_sums(
    x: Array, a: Array, rows: Array, y: Array, b: Array, columns: Array, scales: tuple[float, ...]
) -> tuple[Array, Array]:
    """See `divmatch.kernels.bundles`."""
    near, city = factors(scales)
    sums = np.empty((len(scales), len(rows) - 1, len(columns) - 1))
    squares = np.zeros(len(scales))
    _grouped(x, a, rows, np.ascontiguousarray(y.T), b, columns, near, city, sums, squares)
    return sums, squares


@compiled
def _grouped(
    x: Array,
    a: Array,
    rows: Array,
    y: Array,
    b: Array,
    columns: Array,
    near: Array,
    city: Array,
    sums: Array,
    squares: Array,
) -> None:
    """Sums of every kernel over the pairs of every two groups: a row of distances serves them all."""
    many, m = len(near) + len(city), y.shape[1]
    first, second = np.empty(m), np.empty(m)
    total = np.empty((many, m))
    for g in range(len(rows) - 1):
        total[:] = 0.0
        for i in range(rows[g], rows[g + 1]):
            square_row(x[i], y, first)
            city_row(x[i], y, second)
            for k in range(many):
                factor = near[k] if k < len(near) else city[k - len(near)]
                distances = first if k < len(near) else second
                power = 0.0
                for j in range(m):
                    value = a[i] * exponential(factor * distances[j])
                    total[k, j] += value
                    power += value * value * b[j]
                squares[k] += power / a[i] if a[i] > 0.0 else 0.0
        for k in range(many):
            for h in range(len(columns) - 1):
                found = 0.0
                for j in range(columns[h], columns[h + 1]):
                    found += b[j] * total[k, j]
                sums[k, g, h] = found
