"""Costs between Gaussians, many at a time, and the Gaussian with the least weighted cost from several."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError
from divmatch.mixtures import Components

Array = NDArray[np.float64]
STILL = 1e-13  # relative change of a covariance at which an iteration for it has converged
ROUNDS = 200
SINGULAR = 1e-12  # smallest eigenvalue of a start, as a share of the trace
ROUNDING = 1e-12  # of a bound, as a share of the largest


class Costs:
    """c(k, ·) from every Gaussian of a mixture; what belongs to these alone is computed once."""

    def __init__(self, p: Components) -> None:
        self.p = p

    def to(self, q: Components) -> Array:
        """c(k, j) of every Gaussian of p from every one of q, (K, J), never below 0."""
        raise NotImplementedError

    def under(self, q: Components, limits: Array) -> Array:
        """The same; where a cost is not below its row's limit, anything from the limit up will do."""
        return self.to(q)

    def nearest(self, q: Components) -> tuple[NDArray[np.intp], Array]:
        """Which one of q costs least from each of p, and how much."""
        found = self.to(q)
        places = np.argmin(found, axis=1)
        return places, found[np.arange(len(found)), places]


class InNats(Costs):
    """½ [tr(B⁻¹A) − d + Δ'B⁻¹Δ + ln(det B / det A)]: traces of all pairs are one matrix product."""

    def __init__(self, p: Components) -> None:
        super().__init__(p)
        self.flat = p.covariances.reshape(len(p.means), -1)
        self.volumes = np.linalg.slogdet(p.covariances)[1]

    def to(self, q: Components) -> Array:
        """The Kullback-Leibler divergences."""
        traces, squares = self.parts(q)
        volumes = np.linalg.slogdet(q.covariances)[1] - self.volumes[:, None]
        return np.asarray(np.maximum(0.5 * (traces + squares - self.p.d + volumes), 0.0))

    def parts(self, q: Components) -> tuple[Array, Array]:
        """tr(B⁻¹A) and Δ'B⁻¹Δ."""
        white = np.linalg.inv(np.linalg.cholesky(q.covariances))
        inverses = white.transpose(0, 2, 1) @ white
        gaps = (self.p.means - q.means[:, None]) @ white.transpose(0, 2, 1)
        traces = self.flat @ inverses.reshape(len(q.means), -1).T
        return traces, np.sum(gaps**2, axis=2).T


class BothWays(InNats):
    """½ [tr(B⁻¹A + A⁻¹B) − 2d + Δ'(A⁻¹ + B⁻¹)Δ]."""

    def __init__(self, p: Components) -> None:
        super().__init__(p)
        self.inverses = np.linalg.inv(p.covariances)

    def to(self, q: Components) -> Array:
        """The Jeffreys divergences."""
        traces, squares = self.parts(q)
        back = self.inverses.reshape(len(self.flat), -1) @ q.covariances.reshape(len(q.means), -1).T
        gaps = self.p.means[:, None] - q.means
        own = np.sum(np.matmul(gaps, self.inverses) * gaps, axis=2)
        return np.asarray(np.maximum(0.5 * (traces + back + squares + own) - self.p.d, 0.0))


class Wasserstein(Costs):
    """|Δ|² + tr A + tr B − 2 |A^½ B^½|, the sum of singular values: right for singular covariances too.

    With sorted roots a, b of the eigenvalues, the part of the covariances is at least |a − b|² and at
    most |A^½ − B^½|²: only pairs between which these do not decide are computed.
    """

    def __init__(self, p: Components) -> None:
        super().__init__(p)
        self.roots, self.lengths = rooted(p.covariances)

    def to(self, q: Components) -> Array:
        """The squared distances."""
        return self.under(q, np.full(len(self.roots), np.inf))

    def under(self, q: Components, limits: Array) -> Array:
        """Lower bounds, and the squared distances where these are below the limit."""
        return self._under(q, limits, *rooted(q.covariances))

    def _under(self, q: Components, limits: Array, roots: Array, lengths: Array) -> Array:
        made = self._gaps(q) + _squares(self.lengths, lengths)
        for j, half in enumerate(roots):
            open_ = np.flatnonzero(made[:, j] < limits)
            overlaps = np.linalg.svd(self.roots[open_] @ half, compute_uv=False).sum(axis=1)
            sizes = np.sum(self.lengths[open_] ** 2, axis=1) + float(lengths[j] @ lengths[j])
            gaps = np.sum((self.p.means[open_] - q.means[j]) ** 2, axis=1)
            made[open_, j] = np.maximum(gaps + sizes - 2.0 * overlaps, 0.0)
        return np.asarray(made)

    def nearest(self, q: Components) -> tuple[NDArray[np.intp], Array]:
        """Only pairs whose lower bound is below the row's least upper bound are computed."""
        roots, lengths = rooted(q.covariances)
        flat = self.roots.reshape(len(self.roots), -1)
        most = self._gaps(q) + _squares(flat, roots.reshape(len(roots), -1))
        slack = ROUNDING * float(most.max())
        found = self._under(q, most.min(axis=1) + slack, roots, lengths)
        places = np.argmin(found, axis=1)
        return places, found[np.arange(len(found)), places]

    def _gaps(self, q: Components) -> Array:
        return _squares(self.p.means, q.means)


def _squares(a: Array, b: Array) -> Array:
    """|a − b|² of all pairs of rows."""
    return np.stack([np.sum((a - row) ** 2, axis=1) for row in b], axis=1)


def costs(p: Components, q: Components, cost: str) -> Array:
    """c(k, j) of every Gaussian of p from every one of q, (K, J)."""
    return COSTS[cost](p).to(q)


def rooted(covariances: Array) -> tuple[Array, Array]:
    """Symmetric square roots of one covariance or of many, and the sorted roots of the eigenvalues."""
    values, vectors = np.linalg.eigh(covariances)
    lengths = np.sqrt(np.maximum(values, 0.0))
    return (vectors * lengths[..., None, :]) @ vectors.swapaxes(-1, -2), lengths


def check_regular(mixture: Components, cost: str, name: str) -> None:
    """Costs in nats are infinite where a Gaussian has no density."""
    if cost != "w2" and not mixture.regular:
        raise InconclusiveError(
            f"{name}: a covariance is singular, and the cost {cost} infinite or undefined; choose w2"
        )


# -------------------------------------------------------------------------------------- barycentres


def barycentre(
    group: Components, start: tuple[Array, Array], cost: str, rounds: int = ROUNDS
) -> tuple[Array, Array]:
    """Mean and covariance with the least Σ w c(Gaussian, ·); ``start`` is what they replace.

    After fewer ``rounds`` of an iteration they cost more than the best, but never more than the start.
    """
    if len(group.shares) == 1:
        return group.means[0], group.covariances[0]
    return BARYCENTRES[cost](group, start, rounds)


def _by_kl(group: Components, start: tuple[Array, Array], rounds: int) -> tuple[Array, Array]:
    """The Gaussian with the group's moments."""
    return group.mean, group.spread(group.mean)


def _by_w2(group: Components, start: tuple[Array, Array], rounds: int) -> tuple[Array, Array]:
    """S ← S^-½ (Σ w (S^½ A S^½)^½)² S^-½, from the start or, if that is singular, from Σ w A."""
    spread = start[1]
    if not float(np.linalg.eigvalsh(spread)[0]) > SINGULAR * float(np.trace(spread)):
        spread = np.einsum("k,kij->ij", group.shares, group.covariances)
    for _ in range(rounds):
        values, vectors = np.linalg.eigh(spread)
        live = values > 2.0**-52 * len(values) * values[-1]
        lengths = np.sqrt(np.where(live, values, 0.0))
        inverse = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=live)
        half, back = ((vectors * by) @ vectors.T for by in (lengths, inverse))
        middle = np.einsum("k,kij->ij", group.shares, rooted(half @ group.covariances @ half)[0])
        turned = back @ middle
        after = turned @ turned.T
        moved = float(np.abs(after - spread).max())
        spread = after
        if moved <= STILL * float(np.abs(after).max()):
            break
    return group.mean, spread


def _by_jeffreys(group: Components, start: tuple[Array, Array], rounds: int) -> tuple[Array, Array]:
    """Mean and covariance in turns, each the best one beside the other.

    (S⁻¹ + Σ w A⁻¹) m = S⁻¹ Σ w m + Σ w A⁻¹ m; S is the geometric mean of (Σ w A⁻¹)⁻¹ and
    Σ w (A + Δ Δ').
    """
    mean, spread = start
    inverses = np.linalg.inv(group.covariances)
    precision = np.einsum("k,kij->ij", group.shares, inverses)
    leaned = np.einsum("k,kij,kj->i", group.shares, inverses, group.means)
    centre = group.mean
    lower = np.linalg.cholesky(precision)
    back = np.linalg.inv(lower)
    for _ in range(rounds):
        own = np.linalg.inv(spread)
        mean = np.linalg.solve(own + precision, own @ centre + leaned)
        after = back.T @ rooted(lower.T @ group.spread(mean) @ lower)[0] @ back
        moved = float(np.abs(after - spread).max())
        spread = after
        if moved <= STILL * float(np.abs(after).max()):
            break
    return mean, spread


COSTS: dict[str, type[Costs]] = {"kl": InNats, "w2": Wasserstein, "jeffreys": BothWays}
BARYCENTRES: dict[str, Callable[[Components, tuple[Array, Array], int], tuple[Array, Array]]] = {
    "kl": _by_kl,
    "w2": _by_w2,
    "jeffreys": _by_jeffreys,
}
