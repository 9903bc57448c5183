"""Array-module twin of `divmatch.kernels.cpu.couplings`: CuPy on a GPU, NumPy for small inputs."""

from typing import Any

from divmatch.kernels.gpu.pairwise import array_module

COUPLING_ENTRIES = 16_777_216


def coupled_sums(
    tile: Any,
    scale: float,
    shift: Any,
    offset: Any,
    level: Any,
    weights: Any,
    keep: Any,
    gain: float,
) -> tuple[Any, Any]:
    """See `divmatch.kernels.couplings`."""
    xp = array_module(tile)
    z = tile * tile.dtype.type(scale)
    z += shift
    top = z.max(axis=1)
    z -= top[:, None]
    # as the compiled twin does: no sum of a column is ever zero
    xp.maximum(z, -60.0 if z.dtype.itemsize == 4 else -650.0, out=z)
    xp.exp(z, out=z)
    total = z.sum(axis=1)
    found = top + xp.log(total) + offset
    return found, (weights * xp.exp(found - keep - gain * found) / total) @ z


def mirrored_sums(
    tile: Any, scale: float, shift: Any, offset: Any, own: Any, other: Any
) -> tuple[Any, Any]:
    """See `divmatch.kernels.symmetric`."""
    xp = array_module(tile)
    z = tile * tile.dtype.type(scale)
    z += shift
    z += offset[:, None].astype(tile.dtype)
    least, most = (-59.0, 86.0) if z.dtype.itemsize == 4 else (-650.0, 700.0)
    e = xp.exp(xp.clip(z, least, most))
    return e @ other, own @ e


def row_moments(tile: Any, scale: float, shift: Any, offset: Any, level: Any, factors: Any) -> Any:
    """See `divmatch.kernels.couplings`."""
    xp = array_module(tile)
    z = xp.maximum(tile * scale + shift + (offset - level)[:, None], -700.0)
    e = xp.exp(z)
    first = (e * z).sum(axis=1)
    e *= factors
    return xp.stack([first, e.sum(axis=1), (e * z).sum(axis=1)], axis=1)


def linked_sums(
    starts: Any,
    columns: Any,
    costs: Any,
    scale: float,
    shift: Any,
    weights: Any,
    keep: Any,
    gain: float,
) -> tuple[Any, Any]:
    """See `divmatch.kernels.links`."""
    xp = array_module(costs)
    rows = xp.repeat(xp.arange(len(starts) - 1), xp.diff(starts))
    z = costs * scale + shift[columns]
    top = xp.full(len(starts) - 1, -xp.inf)
    xp.maximum.at(top, rows, z)
    e = xp.exp(xp.maximum(z - top[rows], -650.0))
    total = xp.bincount(rows, e, len(top))
    found = top + xp.log(total)
    factor = weights * xp.exp(found - keep - gain * found) / total
    return found, xp.bincount(columns, factor[rows] * e, len(shift))


def entries_above(tile: Any, scale: float, shift: Any, bars: Any) -> tuple[Any, Any, Any]:
    """See `divmatch.kernels.couplings`."""
    xp = array_module(tile)
    z = tile * scale + shift
    above = z > bars[:, None]
    return above.sum(axis=1), xp.nonzero(above)[1].astype("int32"), z[above]


def largest_entries(tile: Any, scale: float, shift: Any, k: int) -> tuple[Any, Any]:
    """See `divmatch.kernels.couplings`."""
    xp = array_module(tile)
    z = tile * scale + shift
    places = xp.argsort(-z, axis=1, kind="stable")[:, :k]
    return places.astype("int32"), xp.take_along_axis(z, places, axis=1)


def tops(tile: Any, scale: float, shift: Any) -> tuple[Any, Any]:
    """See `divmatch.kernels.couplings`."""
    z = tile * scale + shift
    rows = z.max(axis=1)
    z -= rows[:, None]
    return rows, z.max(axis=0)
