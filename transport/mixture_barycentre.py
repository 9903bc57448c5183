"""Costs between Gaussians, many at a time, and the Gaussian with the least weighted cost from several."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError
from divmatch.mixtures import Components

Array = NDArray[np.float64]
STILL = 1e-13  # relative change of a covariance at which an iteration for it has converged
ROUNDS = 200


def costs(p: Components, q: Components, cost: str) -> Array:
    """c(k, j) of every Gaussian of p from every one of q, (K, J), never below 0."""
    made = np.column_stack(
        [COSTS[cost](p, m, b) for m, b in zip(q.means, q.covariances, strict=True)]
    )
    return np.asarray(np.maximum(made, 0.0))


def _to_one_kl(p: Components, mean: Array, covariance: Array) -> Array:
    """½ [tr(B⁻¹A) − d + Δ'B⁻¹Δ + ln(det B / det A)]; eigenvalues of B^-½ A B^-½ lose no digits near 1."""
    inverse = np.linalg.inv(np.linalg.cholesky(covariance))
    values = np.linalg.eigvalsh(inverse @ p.covariances @ inverse.T)
    gaps = (p.means - mean) @ inverse.T
    spread = values - 1.0 - np.log(np.maximum(values, 0.0))
    return np.asarray(0.5 * (spread.sum(axis=1) + np.sum(gaps**2, axis=1)))


def _to_one_jeffreys(p: Components, mean: Array, covariance: Array) -> Array:
    """½ [tr(B⁻¹A + A⁻¹B) − 2d + Δ'(A⁻¹ + B⁻¹)Δ]."""
    inverse = np.linalg.inv(np.linalg.cholesky(covariance))
    values = np.linalg.eigvalsh(inverse @ p.covariances @ inverse.T)
    gaps = p.means - mean
    own = np.einsum("ki,kij,kj->k", gaps, np.linalg.inv(p.covariances), gaps)
    spread = (values - 1.0) ** 2 / values
    return np.asarray(0.5 * (spread.sum(axis=1) + np.sum((gaps @ inverse.T) ** 2, axis=1) + own))


def _to_one_w2(p: Components, mean: Array, covariance: Array) -> Array:
    """|Δ|² + tr A + tr B − 2 |A^½ B^½|, the sum of singular values: right for singular covariances too."""
    half, halves = _root(covariance), _root(p.covariances)
    overlap = np.linalg.svd(halves @ half, compute_uv=False).sum(axis=1)
    traces = np.trace(p.covariances, axis1=1, axis2=2) + float(np.trace(covariance))
    return np.asarray(np.sum((p.means - mean) ** 2, axis=1) + traces - 2.0 * overlap)


def _root(covariances: Array) -> Array:
    """The symmetric square root of one covariance or of many."""
    values, vectors = np.linalg.eigh(covariances)
    lengths = np.sqrt(np.maximum(values, 0.0))
    return np.asarray((vectors * lengths[..., None, :]) @ np.swapaxes(vectors, -1, -2))


def check_regular(mixture: Components, cost: str, name: str) -> None:
    """Costs in nats are infinite where a Gaussian has no density."""
    if cost == "w2":
        return
    try:
        np.linalg.cholesky(mixture.covariances)
    except np.linalg.LinAlgError:
        raise InconclusiveError(
            f"{name}: a covariance is singular, and the cost {cost} infinite or undefined; choose w2"
        ) from None


# -------------------------------------------------------------------------------------- barycentres


def barycentre(group: Components, start: tuple[Array, Array], cost: str) -> tuple[Array, Array]:
    """Mean and covariance with the least Σ w c(Gaussian, ·); ``start`` is what they replace."""
    if len(group.shares) == 1:
        return group.means[0], group.covariances[0]
    return BARYCENTRES[cost](group, start)


def _by_kl(group: Components, start: tuple[Array, Array]) -> tuple[Array, Array]:
    """The Gaussian with the group's moments."""
    mean = group.shares @ group.means
    return mean, _second(group, mean)


def _second(group: Components, mean: Array) -> Array:
    """Σ w (A + Δ Δ')."""
    gaps = group.means - mean
    within = np.einsum("k,kij->ij", group.shares, group.covariances)
    return np.asarray(within + (gaps.T * group.shares) @ gaps)


def _by_w2(group: Components, start: tuple[Array, Array]) -> tuple[Array, Array]:
    """S ← S^-½ (Σ w (S^½ A S^½)^½)² S^-½, from the mean of the covariances."""
    spread = np.einsum("k,kij->ij", group.shares, group.covariances)
    for _ in range(ROUNDS):
        values, vectors = np.linalg.eigh(spread)
        live = values > 2.0**-52 * len(values) * values[-1]
        lengths = np.sqrt(np.where(live, values, 0.0))
        inverse = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=live)
        half, back = ((vectors * by) @ vectors.T for by in (lengths, inverse))
        middle = np.einsum("k,kij->ij", group.shares, _root(half @ group.covariances @ half))
        turned = back @ middle
        after = turned @ turned.T
        moved = float(np.abs(after - spread).max())
        spread = after
        if moved <= STILL * float(np.abs(after).max()):
            break
    return group.shares @ group.means, spread


def _by_jeffreys(group: Components, start: tuple[Array, Array]) -> tuple[Array, Array]:
    """Mean and covariance in turns, each the best one beside the other.

    (S⁻¹ + Σ w A⁻¹) m = S⁻¹ Σ w m + Σ w A⁻¹ m; S is the geometric mean of (Σ w A⁻¹)⁻¹ and
    Σ w (A + Δ Δ').
    """
    mean, spread = start
    inverses = np.linalg.inv(group.covariances)
    precision = np.einsum("k,kij->ij", group.shares, inverses)
    leaned = np.einsum("k,kij,kj->i", group.shares, inverses, group.means)
    centre = group.shares @ group.means
    lower = np.linalg.cholesky(precision)
    back = np.linalg.inv(lower)
    for _ in range(ROUNDS):
        own = np.linalg.inv(spread)
        mean = np.linalg.solve(own + precision, own @ centre + leaned)
        after = back.T @ _root(lower.T @ _second(group, mean) @ lower) @ back
        moved = float(np.abs(after - spread).max())
        spread = after
        if moved <= STILL * float(np.abs(after).max()):
            break
    return mean, spread


COSTS: dict[str, Callable[[Components, Array, Array], Array]] = {
    "kl": _to_one_kl,
    "w2": _to_one_w2,
    "jeffreys": _to_one_jeffreys,
}
BARYCENTRES: dict[str, Callable[[Components, tuple[Array, Array]], tuple[Array, Array]]] = {
    "kl": _by_kl,
    "w2": _by_w2,
    "jeffreys": _by_jeffreys,
}
