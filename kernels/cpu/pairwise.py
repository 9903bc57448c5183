"""Compiled twin of `divmatch.kernels.gpu.pairwise`: loops over rows, vectorised over columns."""

import math

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.centred import NEAR, Rows, prepared
from divmatch.kernels.cpu.elementary import exponential
from divmatch.kernels.cpu.jit import compiled, inlined

Array = NDArray[np.float64]

TILE = (128, 512)  # rows and columns; 512 KB stay in the cache from their product to their sums
MATERN = {"matern12": (1.0, 0.0, 0.0), "matern32": (3.0, 1.0, 0.0), "matern52": (5.0, 1.0, 1 / 3)}


def tile(x: Array, y: Array, profile: str, scale: float, scales: tuple[float, ...] = ()) -> Array:
    """See `divmatch.kernels.pairwise`."""
    if profile == "poly":
        base: Array = x @ y.T / x.shape[1] + 1.0
        return base * base * base
    if profile in ("stein-gaussian", "stein-imq", "laplace", "bundle", "cityblock"):
        return _by_columns(x, y, profile, scale, scales)
    centre = y.mean(axis=0)
    return shaped(squared_distances(prepared(x, centre), prepared(y, centre)), profile, scale)


def tile_shape(points: Array) -> tuple[int, int]:
    """See `divmatch.kernels.gpu.pairwise`."""
    return TILE


def shaped(squares: Array, profile: str, scale: float) -> Array:
    """See `divmatch.kernels.pairwise`. In single precision where the squares are."""
    out, real = np.empty_like(squares), squares.dtype.type
    if profile == "gaussian":
        gaussian(real(-0.5 / scale**2), squares, out)
    elif profile == "imq":
        imq(real(scale * scale), squares, out)
    elif profile == "mix":
        mix(-0.5 / (16.0 * scale**2), squares, out)
    elif profile == "rq":
        rational(real(0.5 / scale**2), squares, out)
    elif profile in MATERN:
        square, linear, quadratic = MATERN[profile]
        factor = -math.sqrt(square) / scale
        matern(real(factor), real(linear), real(quadratic), squares, out)
    elif scale == 1.0:
        np.sqrt(squares, out=out)
    elif scale == 2.0:
        return squares
    else:
        np.power(squares, 0.5 * scale, out=out)  # vectorised, which the compiler's is not
    return out


def summed(squares: Array, profile: str, scale: float, a: Array, b: Array) -> tuple[Array, Array]:
    """See `divmatch.kernels.pairwise`."""
    if profile == "gaussian" or (profile == "distance" and scale == 1.0):
        along, down = np.empty(len(a)), np.zeros(len(b))
        if profile == "gaussian":
            gaussian_sums(-0.5 / scale**2, squares, a, b, along, down)
        else:
            root_sums(squares, a, b, along, down)
        return along, down
    made = shaped(squares, profile, scale)
    return made @ b, a @ made


def _by_columns(x: Array, y: Array, profile: str, scale: float, scales: tuple[float, ...]) -> Array:
    """Profiles that need more than the squared distance."""
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
    else:
        bundle(x, columns, *factors(scales), out)
    return out


def squared_distances(x: Rows, y: Rows, room: Array | None = None) -> Array:
    """|xᵢ − yⱼ|²: with many columns from a product of the centred rows, where that loses no digits.

    |x|² + |y|² − 2 x·y is wrong by some units in the last place of |x|² + |y|². Squares below a
    sixteenth of that are computed from differences: near rows keep their digits, equal rows their
    zero. They are written to ``room``, if there is one.
    """
    shape = len(x.points), len(y.points)
    kind = x.points.dtype
    made = np.empty(shape, kind) if room is None else room[: shape[0] * shape[1]].reshape(shape)
    if x.centred is None:
        squares(x.points, np.ascontiguousarray(y.points.T), made)
    else:
        np.matmul(x.centred, y.centred.T, out=made)
        expanded(x.points, y.points, x.squares, y.squares, made)
    return made


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
def expanded(x: Array, y: Array, norms_x: Array, norms_y: Array, out: Array) -> None:
    """|xᵢ − yⱼ|² from the products of centred rows in ``out``; near ones from differences."""
    for i in range(x.shape[0]):
        near = 0
        for j in range(out.shape[1]):
            size = norms_x[i] + norms_y[j]
            out[i, j] = size - 2.0 * out[i, j]
            near += 0 if out[i, j] > NEAR * size else 1
        if near > 0:
            for j in range(out.shape[1]):
                if not out[i, j] > NEAR * (norms_x[i] + norms_y[j]):
                    total = 0.0
                    for c in range(x.shape[1]):
                        gap = x[i, c] - y[j, c]
                        total += gap * gap
                    out[i, j] = total


@compiled
def gaussian(factor: float, squares: Array, out: Array) -> None:
    """exp(factor r²), of squares r²."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = exponential(factor * squares[i, j])


@compiled
def gaussian_sums(
    factor: float, squares: Array, a: Array, b: Array, along: Array, down: Array
) -> None:
    """K b and Kᵀ a for K = exp(factor r²), of which nothing is kept; added to ``down``."""
    for i in range(squares.shape[0]):
        total = 0.0
        for j in range(squares.shape[1]):
            value = exponential(factor * squares[i, j])
            total += value * b[j]
            down[j] += a[i] * value
        along[i] = total


@compiled
def root_sums(squares: Array, a: Array, b: Array, along: Array, down: Array) -> None:
    """The same for K = r."""
    for i in range(squares.shape[0]):
        total = 0.0
        for j in range(squares.shape[1]):
            value = math.sqrt(squares[i, j])
            total += value * b[j]
            down[j] += a[i] * value
        along[i] = total


@compiled
def imq(offset: float, squares: Array, out: Array) -> None:
    """(offset + r²)^(−1/2)."""
    one = offset / offset  # of the type of the squares, which a number in the text would widen
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = one / math.sqrt(offset + squares[i, j])


@compiled
def rational(factor: float, squares: Array, out: Array) -> None:
    """1 / (1 + factor r²)."""
    one = factor / factor
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = one / (one + factor * squares[i, j])


@compiled
def matern(factor: float, linear: float, square: float, squares: Array, out: Array) -> None:
    """(1 + linear u + square u²) exp(−u) with −u = factor r."""
    one = factor / factor
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            u = factor * math.sqrt(squares[i, j])
            out[i, j] = (one - u * (linear - square * u)) * exponential(u)


@compiled
def mix(factor: float, squares: Array, out: Array) -> None:
    """Mean of gaussians whose exponents are factor·{1, 4, 16, 64, 256}: powers of one exponential."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            e1 = exponential(factor * squares[i, j])
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
