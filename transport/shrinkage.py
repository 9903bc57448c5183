"""Covariances of few rows, drawn towards their diagonal by as much as the rows themselves call for."""

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError, SettingError
from divmatch.kernels.execution import execution
from divmatch.transport.bures import Gaussian, fitted, root

Array = NDArray[np.float64]


def intensity(standard: Array, masses: Array) -> float:
    """Ledoit & Wolf's share of the identity, for rows whose columns have mean 0 and variance 1.

    The mean square error of the entries of the correlation matrix over how far it is from the identity.
    """
    correlation = (standard * masses[:, None]).T @ standard
    apart = correlation - np.eye(len(correlation))
    distance = float(np.sum(apart * apart))
    lengths = np.einsum("ij,ij->i", standard, standard)
    inner = np.einsum("ij,ij->i", standard @ correlation, standard)
    errors = lengths**2 - 2.0 * inner + float(np.sum(correlation**2))
    noise = float(masses**2 @ errors)
    return min(noise / distance, 1.0) if distance > 0 else 0.0


def share_of(points: Array, masses: Array) -> float:
    """The intensity of rows in any units; constant columns have no say."""
    centred = points - masses @ points
    spread = np.sqrt(masses @ centred**2)
    live = spread > 1e-13 * np.abs(points).max(axis=0)
    if not live.any():
        return 0.0
    return intensity(centred[:, live] / spread[live], masses)


def shrunk(points: Array, masses: Array, name: str, share: float) -> Gaussian:
    """The Gaussian with the covariance (1 − share) S + share diag(S), in any units of the columns."""
    if not share > 0:
        return fitted(points, masses, name)
    d = points.shape[1]
    if 24 * d * d > execution().memory:
        raise SettingError(
            f"--shrink: covariances of {d} columns need {24 * d * d / 2**30:.2g} GiB; choose --shrink 0, or "
            "allow more with --max-memory"
        )
    left = 1.0 - float(masses @ masses)
    if len(points) < 2 or not left > 0:
        raise InconclusiveError(f"{name}: one row has no covariance; more rows are needed")
    mean = masses @ points
    centred = (points - mean) * np.sqrt(masses / left)[:, None]
    covariance = centred.T @ centred
    kept = np.diag(covariance).copy()
    covariance *= 1.0 - share
    np.fill_diagonal(covariance, kept)
    return Gaussian(mean, root(covariance, np.abs(mean)))
