"""Array-module twin of `divmatch.kernels.cpu.pairwise`: CuPy on a GPU, NumPy for small inputs."""

import math
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from divmatch.kernels.centred import NEAR, Rows, prepared

TILE = (256, 512)  # rows and columns that the cache of a CPU holds
WIDE_TILE = (2048, 4096)  # and those that keep a GPU busy
MATERN = {"matern12": (1.0, 0.0, 0.0), "matern32": (3.0, 1.0, 0.0), "matern52": (5.0, 1.0, 1 / 3)}
CROWDED = 32  # near pairs above this share are told all at once, a column at a time
MIXTURE = (16.0, 4.0, 1.0, 0.25, 0.0625)  # squared factors of the mixed bandwidths


def tile(x: Any, y: Any, profile: str, scale: float, scales: tuple[float, ...] = ()) -> Any:
    """See `divmatch.kernels.pairwise`."""
    xp = array_module(x)
    if profile.startswith("stein"):
        return _stein(xp, x, y, profile, scale)
    if profile == "poly":
        base = x @ y.T / x.shape[1] + 1.0
        return base * base * base
    if profile == "bundle":
        return sum(_bundled(xp, x, y, scales)) / len(scales)
    if profile == "cityblock":
        return _summed(xp, x, y, xp.abs)
    if profile == "laplace":
        return xp.exp(_summed(xp, x, y, xp.abs) / -scale)
    centre = y.mean(axis=0)
    return shaped(squared_distances(prepared(x, centre), prepared(y, centre)), profile, scale)


def tile_shape(points: Any) -> tuple[int, int]:
    """Rows and columns of a tile."""
    return TILE if array_module(points) is np else WIDE_TILE


def squared_distances(x: Rows, y: Rows, room: Any = None) -> Any:
    """See `divmatch.kernels.cpu.pairwise`; a new array, whatever ``room`` there is."""
    xp = array_module(x.points)
    if x.centred is None:
        return _summed(xp, x.points, y.points, xp.square)
    made = x.centred @ y.centred.T
    made *= -2.0
    sizes = x.squares[:, None] + y.squares
    made += sizes
    sizes *= NEAR
    near = ~(made > sizes)
    many = int(xp.count_nonzero(near))
    if many > made.size // CROWDED:
        return xp.where(near, _summed(xp, x.points, y.points, xp.square), made)
    if many > 0:
        rows, columns = xp.nonzero(near)
        gaps = x.points[rows] - y.points[columns]
        made[rows, columns] = (gaps * gaps).sum(axis=1)
    return made


def shaped(squares: Any, profile: str, scale: float) -> Any:
    """See `divmatch.kernels.pairwise`."""
    xp = array_module(squares)
    if profile == "gaussian":
        return xp.exp(squares / (-2.0 * scale * scale))
    if profile == "imq":
        return 1.0 / xp.sqrt(scale * scale + squares)
    if profile == "rq":
        return 1.0 / (1.0 + squares / (2.0 * scale * scale))
    if profile in MATERN:
        square, linear, quadratic = MATERN[profile]
        u = xp.sqrt(squares) * (math.sqrt(square) / scale)
        return (1.0 + u * (linear + quadratic * u)) * xp.exp(-u)
    if profile == "mix":
        exponents = squares / (-2.0 * scale * scale)
        return sum(xp.exp(exponents / factor) for factor in MIXTURE) / len(MIXTURE)
    if scale == 2.0:
        return squares
    return xp.sqrt(squares) if scale == 1.0 else squares ** (0.5 * scale)


def summed(squares: Any, profile: str, scale: float, a: Any, b: Any) -> tuple[Any, Any]:
    """See `divmatch.kernels.pairwise`."""
    made = shaped(squares, profile, scale)
    return made @ b, a @ made


def _stein(xp: Any, x: Any, y: Any, profile: str, scale: float) -> Any:
    """Stein kernel t·t' φ − 2 φ' ((t − t')·(x − x') + d) − 4 φ'' r² for k = φ(r²); x holds (x, t)."""
    d = x.shape[1] // 2
    squares, scores, lean = (xp.zeros((x.shape[0], y.shape[0])) for _ in range(3))
    for c in range(d):
        gap = x[:, c, None] - y[None, :, c]
        squares += gap * gap
        gap *= x[:, d + c, None] - y[None, :, d + c]
        lean += gap
        scores += x[:, d + c, None] * y[None, :, d + c]
    if profile == "stein-gaussian":
        narrow = 1.0 / (scale * scale)
        return xp.exp(-0.5 * narrow * squares) * (scores + narrow * ((lean + d) - narrow * squares))
    inverse = 1.0 / (scale * scale + squares)
    return xp.sqrt(inverse) * (scores + inverse * ((lean + d) - 3.0 * inverse * squares))


def bundle_sums(
    x: Any, a: Any, rows: Any, y: Any, b: Any, columns: Any, scales: tuple[float, ...]
) -> tuple[Any, Any]:
    """See `divmatch.kernels.bundles`."""
    xp = array_module(x)
    rows, columns = xp.asarray(rows), xp.asarray(columns)
    sums = xp.empty((len(scales), len(rows) - 1, len(columns) - 1))
    squares = xp.empty(len(scales))
    for k, kernel in enumerate(_bundled(xp, x, y, scales)):
        squares[k] = a @ (kernel * kernel) @ b
        kernel *= a[:, None] * b
        along = xp.concatenate([xp.zeros((1, y.shape[0])), xp.cumsum(kernel, axis=0)])[rows]
        part = xp.diff(along, axis=0)
        down = xp.concatenate([xp.zeros((part.shape[0], 1)), xp.cumsum(part, axis=1)], axis=1)
        sums[k] = xp.diff(down[:, columns], axis=1)
    return sums, squares


def _bundled(xp: Any, x: Any, y: Any, scales: tuple[float, ...]) -> Iterator[Any]:
    """The gaussians of a bundle, then its laplaces, one matrix at a time."""
    half = len(scales) // 2
    squares = _summed(xp, x, y, xp.square)
    for scale in scales[:half]:
        yield xp.exp(squares / (-2.0 * scale * scale))
    city = _summed(xp, x, y, xp.abs)
    for scale in scales[half:]:
        yield xp.exp(city / -scale)


def array_module(array: Any) -> Any:
    """The module the array came from: cupy on a GPU, numpy elsewhere."""
    return sys.modules[type(array).__module__.partition(".")[0]]


def _summed(xp: Any, x: Any, y: Any, of_gap: Any) -> Any:
    """Σ_c f(x_ic − y_jc), shape (n, m), a column at a time so that no (n, m, d) array exists."""
    total = xp.zeros((x.shape[0], y.shape[0]), dtype=x.dtype)
    gap = xp.empty_like(total)
    for c in range(x.shape[1]):
        xp.subtract(x[:, c, None], y[None, :, c], out=gap)
        of_gap(gap, out=gap)
        total += gap
    return total
