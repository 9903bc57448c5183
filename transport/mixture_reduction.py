"""Reduction of a Gaussian mixture to fewer components, by the composite transportation divergence."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from divmatch.matcher import Watch
from divmatch.mixtures import Components
from divmatch.transport.mixture_barycentre import COSTS, ROUNDS, Costs, barycentre, costs
from divmatch.transport.mixture_cost import plan_of

Array = NDArray[np.float64]
ENOUGH = 1e-8  # relative decrease of the divergence at which the descent ends
TOUCHING = 1e-12  # costs up to which Gaussians count as one, beside the largest
SAME = 1e-13  # shares that differ by rounding
MORE = 5  # starts of a reduction for each that is asked for: they are quick, and its optima many
FEW = 3  # rounds for a barycentre on the way, where groups still change


@dataclass(frozen=True, eq=False)
class Reduced:
    """Fewer Gaussians, which of them each one went to, and the divergence between the two mixtures."""

    mixture: Components
    places: NDArray[np.intp]
    divergence: float
    steps: int
    converged: bool
    curve: tuple[float, ...]


def pooled(mixtures: list[Components], shares: Array) -> Components:
    """One mixture of all Gaussians, each part with its share."""
    return Components(
        np.concatenate([share * one.shares for share, one in zip(shares, mixtures, strict=True)]),
        np.concatenate([one.means for one in mixtures]),
        np.concatenate([one.covariances for one in mixtures]),
    )


def reduced(
    mixture: Components,
    count: int,
    cost: str,
    *,
    starts: int,
    steps: int,
    rng: "Callable[[], np.random.Generator]",
    watch: Watch | None = None,
) -> Reduced:
    """At most ``count`` Gaussians with the least Σ w_l min_k c(l, k), the best of 5 ``starts``.

    Every start is improved in turns: each Gaussian goes to the nearest, and each of the nearest
    becomes the barycentre of those that came, which never makes the divergence larger. Fewer are
    returned only where so few are different.
    """
    if count >= len(mixture.shares):
        return Reduced(mixture, np.arange(len(mixture.shares)), 0.0, 0, True, (0.0,))
    draw = None if count == 1 else rng()
    scale = np.ones(mixture.d) if cost == "w2" else _spreads(mixture)
    of = COSTS[cost](_scaled(mixture, 1.0 / scale))
    watch = watch or Watch()
    best: Reduced | None = None
    for k in range(1 if draw is None else MORE * starts):
        watch.at(f"reduction, start {k + 1}")
        found = _descended(of, _seeds(of, count, draw), cost, steps, FEW)
        best = found if best is None or found.divergence < best.divergence else best
    assert best is not None  # noqa: S101
    made = _descended(of, best.mixture, cost, steps, ROUNDS)
    curve = (*best.curve, *made.curve[1:])
    for k, value in enumerate(curve):
        watch.step(k, divergence=value)
    return replace(made, mixture=_scaled(made.mixture, scale), steps=len(curve) - 1, curve=curve)


def _spreads(mixture: Components) -> Array:
    """The standard deviations of all columns: costs in nats do not depend on their units."""
    centre = mixture.shares @ mixture.means
    within = np.einsum("kii->ki", mixture.covariances) + (mixture.means - centre) ** 2
    return np.asarray(np.sqrt(mixture.shares @ within))


def _scaled(mixture: Components, scale: Array) -> Components:
    return Components(
        mixture.shares, mixture.means * scale, mixture.covariances * scale[:, None] * scale
    )


def _seeds(of: Costs, count: int, rng: "np.random.Generator | None") -> Components:
    """Gaussians drawn one by one, by weight times cost from those drawn so far (greedy k-means++)."""
    mixture = of.p
    if rng is None:
        return _some(mixture, [int(np.argmax(mixture.shares))])
    tries = 2 + int(np.log(count))
    chances, nearest = mixture.shares, np.full(len(mixture.shares), np.inf)
    places: list[int] = []
    while len(places) < count and chances.sum() > 0:
        bounds = np.cumsum(chances)
        drawn = np.searchsorted(bounds / bounds[-1], rng.random(tries), side="right")
        drawn = np.unique(np.minimum(drawn, len(bounds) - 1))
        drawn = drawn[chances[drawn] > 0]
        if not len(drawn):
            continue
        to = np.minimum(nearest[:, None], of.under(_some(mixture, drawn), nearest))
        best = int(np.argmin(mixture.shares @ to))
        places.append(int(drawn[best]))
        nearest = to[:, best]
        nearest[places] = 0.0
        nearest[nearest <= TOUCHING * float(nearest.max())] = 0.0
        chances = mixture.shares * nearest
    return _some(mixture, places)


def _some(mixture: Components, places: "list[int] | NDArray[np.intp]") -> Components:
    return Components(mixture.shares[places], mixture.means[places], mixture.covariances[places])


def _descended(of: Costs, centres: Components, cost: str, steps: int, rounds: int) -> Reduced:
    """Assignments and barycentres in turns."""
    mixture = of.p
    places, lost = of.nearest(centres)
    curve = [float(mixture.shares @ lost)]
    converged = False
    for _ in range(steps):
        centres = _moved(mixture, centres, places, lost, cost, rounds)
        places, lost = of.nearest(centres)
        curve.append(float(mixture.shares @ lost))
        if curve[-2] - curve[-1] <= ENOUGH * curve[-2]:
            converged = True
            break
    used, places = np.unique(places, return_inverse=True)  # one that nobody chose is left out
    shares = np.bincount(places, weights=mixture.shares).astype(np.float64)
    made = Components(shares, centres.means[used], centres.covariances[used])
    return Reduced(made, places, curve[-1], len(curve) - 1, converged, tuple(curve))


def _moved(
    mixture: Components,
    centres: Components,
    places: NDArray[np.intp],
    lost: Array,
    cost: str,
    rounds: int,
) -> Components:
    """Each centre at the barycentre of its group; one that nobody chose, at the costliest Gaussian."""
    means, covariances = centres.means.copy(), centres.covariances.copy()
    dear = mixture.shares * lost
    for k in range(len(means)):
        mine = np.flatnonzero(places == k)
        if len(mine):
            group = _some(mixture, mine)
            group = Components(group.shares / group.shares.sum(), group.means, group.covariances)
            start = means[k], covariances[k]
            means[k], covariances[k] = barycentre(group, start, cost, rounds)
        else:
            far = int(np.argmax(dear))
            means[k], covariances[k] = mixture.means[far], mixture.covariances[far]
            dear[far] = 0.0
    return Components(centres.shares, means, covariances)


def mixture_w2(p: Components, q: Components) -> float:
    """MW₂², the least cost of moving p's Gaussians onto q's.

    Where every one may go to its nearest, as mostly after a reduction, that is the best plan.
    """
    between = costs(p, q, "w2")
    nearest = np.argmin(between, axis=1)
    came = np.bincount(nearest, weights=p.shares, minlength=len(q.shares))
    if np.abs(came - q.shares).max() <= SAME:
        return float(p.shares @ between.min(axis=1))
    plan = plan_of(between, p.shares, q.shares)[0]
    return float(np.sum(plan * between))
