"""Gaussian mixtures: weights, means and covariances that stand in the place of rows, and their files."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from zipfile import ZipFile

import numpy as np
from numpy.typing import ArrayLike, NDArray

from divmatch.arrays import load_array
from divmatch.errors import SampleError, counted
from divmatch.moments import ANEW, Moments
from divmatch.places import Place, damage, locate
from divmatch.samples import check_finite

Array = NDArray[np.float64]
PARTS = ("weights", "means", "covariances")  # the arrays of a mixture's file
MASS = 1e-4  # how far a sum of weights may be from 1: what float32 loses
SYMMETRIC = 1e-5  # how far a covariance may be from its transpose, relative to its largest number


@dataclass(frozen=True, eq=False)
class Components:
    """Shares (K,), means (K, d) and covariances (K, d, d) of a Gaussian mixture."""

    shares: Array
    means: Array
    covariances: Array

    @property
    def d(self) -> int:
        """Number of columns."""
        return int(self.means.shape[1])

    @property
    def mean(self) -> Array:
        """The mean of the mixture, (d,)."""
        return np.asarray(self.shares @ self.means)

    @property
    def regular(self) -> bool:
        """Whether every component has a density."""
        try:
            np.linalg.cholesky(self.covariances)
        except np.linalg.LinAlgError:
            return False
        return True

    def spread(self, centre: Array) -> Array:
        """Σ w (A + Δ Δ') with the gaps Δ of the means from a centre, (d, d): the covariance at the mean."""
        gaps = self.means - centre
        within = np.einsum("k,kij->ij", self.shares, self.covariances)
        return np.asarray(within + (gaps.T * self.shares) @ gaps)


@dataclass(frozen=True, eq=False)
class StoredMixture(Moments):
    """A distribution of which a Gaussian mixture is known: what its file holds.

    Where one Gaussian is asked for, it is the one with the mixture's mean and covariance. ``rows``
    is how many rows it was fitted to; 0 where that is unknown.
    """

    components: Components = field(kw_only=True)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What its file holds."""
        held = self.components
        made: dict[str, NDArray[Any]] = dict(
            zip(PARTS, (held.shares, held.means, held.covariances), strict=True)
        )
        if self.rows:
            made["n"] = np.array(self.rows)
        if self.columns:
            made["columns"] = np.array(self.columns)
        return made


def stored(
    components: Components, rows: int = 0, name: str = "mixture", columns: tuple[str, ...] = ()
) -> StoredMixture:
    """The mixture with the moments that it has."""
    centre = components.mean
    return StoredMixture(
        centre[None], None, name, columns, {"kind": "npz", "rows": rows},
        {"covariance": components.spread(centre)}, rows=rows, components=components,
    )  # fmt: skip


def as_mixture(
    weights: ArrayLike,
    means: ArrayLike,
    covariances: ArrayLike,
    rows: int = 0,
    name: str = "x",
    columns: tuple[str, ...] = (),
) -> StoredMixture:
    """Check a mixture of K Gaussians in d columns; components without weight are left out.

    Parameters
    ----------
    weights : array
        Shape (K,), at least 0, with the sum 1.
    means : array
        Shape (K, d).
    covariances : array
        Shape (K, d, d), or (K, d) of variances, or (K,) of one variance for all columns.
    rows : int
        How many rows it was fitted to; 0 where that is unknown.
    name : str
        What messages call it.
    columns : tuple of str
        Names of the columns, if they have any.

    Raises
    ------
    SampleError
        Naming the array and what is wrong.
    """
    parts = (np.asarray(one) for one in (weights, means, covariances))
    shares, centres, spreads = (
        _numbers(one, name, part) for one, part in zip(parts, PARTS, strict=True)
    )
    k = shares.size
    if shares.ndim != 1 or not k or not (shares >= 0).all() or not shares.sum() > 0:
        raise SampleError(f"{name}::weights must be numbers of at least 0, not all 0")
    total = float(shares.sum())
    if abs(total - 1.0) > MASS:
        raise SampleError(
            f"{name}::weights sum to {total:.6g}, expected 1; divide them by their sum"
        )
    if centres.ndim != 2 or len(centres) != k or not centres.shape[1]:
        raise SampleError(
            f"{name}::means has shape {centres.shape}, expected ({k}, d): one mean a weight"
        )
    full = _covariances(spreads, k, centres.shape[1], name)
    if columns and len(columns) != centres.shape[1]:
        raise SampleError(
            f"{name}::columns has {counted(len(columns), 'name')}, expected {centres.shape[1]}"
        )
    kept = shares > 0
    made = Components(shares[kept] / total, centres[kept], full[kept])
    return stored(made, rows, name, columns)


def _numbers(values: NDArray[Any], name: str, part: str) -> Array:
    if values.dtype.kind not in "biuf":
        raise SampleError(f"{name}::{part} holds {values.dtype} values, not numbers")
    found = values.astype(np.float64)
    if found.size:
        check_finite(found.reshape(len(found) if found.ndim else 1, -1), f"{name}::{part}", ANEW)
    return found


def _covariances(given: Array, k: int, d: int, name: str) -> Array:
    """Full symmetric matrices without a negative direction."""
    if given.shape not in ((k,), (k, d), (k, d, d)):
        raise SampleError(
            f"{name}::covariances has shape {given.shape}, expected ({k},), ({k}, {d}) or "
            f"({k}, {d}, {d})"
        )
    if given.ndim < 3:
        variances = np.broadcast_to(given.reshape(k, -1), (k, d))
        if not (variances >= 0).all():
            raise SampleError(f"{name}::covariances has a variance below 0")
        return np.asarray(variances[:, :, None] * np.eye(d))
    turned = given.transpose(0, 2, 1)
    sizes = np.abs(given).max(axis=(1, 2))
    if (np.abs(given - turned).max(axis=(1, 2)) > SYMMETRIC * sizes).any():
        raise SampleError(f"{name}::covariances has a matrix that is not symmetric")
    full = given / 2.0 + turned / 2.0
    least = np.linalg.eigvalsh(full / np.where(sizes > 0, sizes, 1.0)[:, None, None])[:, 0]
    if (least < -SYMMETRIC).any():
        raise SampleError(
            f"{name}::covariances: number {int(np.argmin(least))} (from 0) has a negative eigenvalue "
            f"({float(least.min() * sizes[np.argmin(least)]):.3g}); it is no covariance"
        )
    return np.asarray(full)


# ------------------------------------------------------------------------------------------ files


def read_mixture(path: str) -> StoredMixture | None:
    """The mixture in an .npz with weights, means and covariances; None where it is anything else.

    Beside them may stand ``n``, the number of rows that it was fitted to, and ``columns``, their names.
    """
    place = locate(path)
    if place.kind != "npz" or place.selector is not None:
        return None
    with damage(place.name, ".npz"), ZipFile(place.paths[0]) as archive:
        keys = {name.removesuffix(".npy") for name in archive.namelist()}
    if not keys.issuperset(PARTS):
        return None
    arrays = {key: _array(place, key) for key in (*PARTS, "n", "columns") if key in keys}
    weights, means, covariances = (arrays[part] for part in PARTS)
    rows, names = _rows(arrays, place), _names(arrays, place)
    return as_mixture(weights, means, covariances, rows, place.name, names)


def _array(place: Place, key: str) -> NDArray[Any]:
    return load_array(
        replace(place, name=f"{place.name}::{key}", selector=key), "npz", place.paths[0]
    )


def _rows(arrays: Mapping[str, NDArray[Any]], place: Place) -> int:
    if "n" not in arrays:
        return 0
    found = arrays["n"]
    if found.size != 1 or found.dtype.kind not in "iuf" or not 1 <= float(found.flat[0]) < 2**53:
        raise SampleError(f"{place.name}: 'n' is {str(found)[:40]}, expected a number of rows")
    return int(found.flat[0])


def _names(arrays: Mapping[str, NDArray[Any]], place: Place) -> tuple[str, ...]:
    if "columns" not in arrays:
        return ()
    found = arrays["columns"]
    if found.ndim != 1 or found.dtype.kind != "U":
        raise SampleError(
            f"{place.name}::columns has shape {found.shape} and type {found.dtype}, expected names"
        )
    return tuple(map(str, found))
