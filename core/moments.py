"""Moments: a mean and a covariance that were stored in the place of their rows."""

from dataclasses import dataclass, replace
from zipfile import ZipFile

import numpy as np
from numpy.typing import ArrayLike, NDArray

from divmatch.arrays import load_array
from divmatch.errors import SampleError, counted
from divmatch.places import Place, damage, locate
from divmatch.samples import Samples, check_finite

ANEW = "write it anew from rows that are finite"
MEAN, COVARIANCE = ("mean", "mu"), ("cov", "sigma")  # ours, and those of common FID tools


@dataclass(frozen=True, eq=False)
class Moments(Samples):
    """A distribution of which only mean and covariance are known: its points are the mean.

    ``rows`` is how many rows they come from; 0 where that is unknown.
    """

    rows: int = 0

    @property
    def n(self) -> int:
        """Number of rows behind the moments, 0 where unknown."""
        return self.rows

    @property
    def mean(self) -> NDArray[np.float64]:
        """The mean, (d,)."""
        return np.asarray(self.points[0])

    @property
    def covariance(self) -> NDArray[np.float64]:
        """The unbiased covariance, (d, d)."""
        return self.beside["covariance"]

    def effective_size(self) -> float:
        """Number of rows; infinite where the moments are taken as exact."""
        return float(self.rows) if self.rows else float("inf")


def as_moments(mean: ArrayLike, covariance: ArrayLike, rows: int = 0, name: str = "x") -> Moments:
    """Check a mean (d,) and a covariance (d, d) that is symmetric and has no negative direction."""
    centre, spread = (np.asarray(values) for values in (mean, covariance))
    if centre.dtype.kind not in "biuf" or spread.dtype.kind not in "biuf":
        raise SampleError(f"{name}: mean and covariance hold {spread.dtype} values, not numbers")
    centre, spread = centre.astype(np.float64), spread.astype(np.float64)
    d = centre.size
    if centre.ndim > 1 or d == 0 or spread.size != d * d or spread.shape not in ((d, d), ()):
        raise SampleError(
            f"{name}: the mean has shape {centre.shape} and the covariance {spread.shape}, expected (d,) "
            "and (d, d)"
        )
    centre, spread = centre.reshape(1, d), spread.reshape(d, d)
    check_finite(centre, f"{name}, mean", ANEW)
    check_finite(spread, f"{name}, covariance", ANEW)
    largest = float(np.abs(spread).max())
    with np.errstate(over="ignore"):
        lopsided = float(np.abs(spread - spread.T).max())
    if lopsided > 1e-5 * largest:  # float32 files are off by their rounding
        raise SampleError(f"{name}: the covariance is not symmetric; store the full matrix")
    spread = spread / 2.0 + spread.T / 2.0
    least = float(np.linalg.eigvalsh(spread / largest)[0]) if largest > 0 else 0.0
    if least < -1e-5:
        raise SampleError(
            f"{name}: the covariance has a negative eigenvalue ({least * largest:.3g}); it is none"
        )
    return Moments(
        centre, None, name, (), {"kind": "npz", "rows": rows}, {"covariance": spread}, rows=rows
    )


def read_moments(path: str) -> Moments | None:
    """The moments in an .npz with a mean and a covariance; None where the input is anything else.

    Keys: ``mean`` or ``mu``, ``cov`` or ``sigma``, and ``n``, the number of rows, if known.
    """
    place = locate(path)
    if place.kind != "npz" or place.selector is not None:
        return None
    with damage(place.name, ".npz"), ZipFile(place.paths[0]) as archive:
        keys = {name.removesuffix(".npy") for name in archive.namelist()}
    mean, covariance = (next((k for k in known if k in keys), None) for known in (MEAN, COVARIANCE))
    if mean is None or covariance is None:
        return None
    rows = _rows(place) if "n" in keys else 0
    return as_moments(_array(place, mean), _array(place, covariance), rows, place.name)


def _array(place: Place, key: str) -> NDArray[np.generic]:
    return load_array(replace(place, selector=key), "npz", place.paths[0])


def _rows(place: Place) -> int:
    found = _array(place, "n")
    if found.size != 1 or found.dtype.kind not in "iuf" or not 2 <= float(found.flat[0]) < 2**53:
        raise SampleError(
            f"{place.name}: 'n' is {str(found)[:40]}, expected {counted(1, 'number')}, at least 2 rows"
        )
    return int(found.flat[0])
