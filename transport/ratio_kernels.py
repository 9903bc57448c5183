"""Ratios of Q's density to P's, linear in Gaussian kernels around rows of Q: uLSIF and KLIEP."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from divmatch.bandwidth import resolved
from divmatch.errors import InconclusiveError
from divmatch.kernels.bumps import CENTRES, RIDGES, WIDTHS, Bumps, ridges_of
from divmatch.kernels.least_squares import Pool
from divmatch.kernels.logistic import Rows
from divmatch.matcher import Array
from divmatch.samples import Samples
from divmatch.transport.likeliest import Proportions, likeliest

Folds = NDArray[np.intp]
ROUGH = 1e-3  # nats from the largest likelihood: enough to choose a width by
EXACT = 1e-8


@dataclass(frozen=True, eq=False)
class Ratio:
    """q/p as Σ αₗ k(·, cₗ) in standardised columns, as fitted: of any sign for uLSIF."""

    bumps: Bumps
    place: int
    alpha: Array
    standardised: Callable[[Samples], Array]
    facts: Mapping[str, float]
    converged: bool = True

    def at(self, samples: Samples) -> Array:
        """Ratios of all rows."""
        return self.bumps.of_width(self.standardised(samples), self.place) @ self.alpha

    @property
    def width(self) -> float:
        """The kernels' width, in standard deviations of the pooled columns."""
        return WIDTHS[self.place] * self.bumps.scale


@dataclass(frozen=True, eq=False)
class Setup:
    """Both samples standardised, the kernels, and the part that every row belongs to."""

    p: Array
    q: Array
    a: Array
    b: Array
    bumps: Bumps
    parts: tuple[Folds, Folds]
    folds: int
    standardised: Callable[[Samples], Array]


def set_up(x: Samples, y: Samples, folds: int, rng: "np.random.Generator") -> Setup:
    """Columns of mean 0 and deviation 1 where each sample counts one half; constant ones left out."""
    a, b = x.masses(), y.masses()
    mean = 0.5 * (a @ x.points + b @ y.points)
    squares = 0.5 * (a @ (x.points - mean) ** 2 + b @ (y.points - mean) ** 2)
    spread = np.sqrt(squares)
    varies = spread > 1e-13 * np.abs(mean)

    def standardised(samples: Samples) -> Array:
        made: Array = (samples.points[:, varies] - mean[varies]) / spread[varies]
        return made

    p, q = standardised(x), standardised(y)
    scale = 1.0
    if varies.any():
        scale, _ = resolved(
            "median", replace(x, points=p, _derived={}), replace(y, points=q, _derived={})
        )
    rows = np.flatnonzero(b > 0)
    taken = rng.choice(rows, min(CENTRES, len(rows)), replace=False, p=b[rows] / b[rows].sum())
    parts = (rng.permutation(x.n) % folds, rng.permutation(y.n) % folds)
    return Setup(p, q, a, b, Bumps(q[np.sort(taken)], scale), parts, folds, standardised)


def ulsif(of: Setup) -> Ratio:
    """The width and ridge of least held-out squared loss, then all rows."""
    points = np.concatenate([of.q, of.p])
    above = np.arange(len(points)) < len(of.q)
    mass, fold = np.concatenate([of.b, of.a]), np.concatenate(of.parts[::-1])
    pool = Pool(len(points), lambda at: of.bumps.every(points[at]), above, mass, fold, of.folds)
    moments, candidates = pool.moments(), ridges_of(of.a, of.b)
    every = pool.every_ratio([one.solved(candidates) for one in moments])
    losses = mass @ np.where(above[:, None], -every, 0.5 * every**2)
    place, ridge = divmod(int(losses.argmin()), len(RIDGES))
    alpha = moments[place].whole(candidates[ridge])
    facts = {"ridge": candidates[ridge], "loss": float(losses.min())}
    return Ratio(of.bumps, place, alpha, of.standardised, facts)


def kliep(of: Setup) -> Ratio:
    """The width of largest held-out likelihood, then all rows."""
    scores = [sum(_held_out(of, place, k) for k in range(of.folds)) for place in range(len(WIDTHS))]
    place = int(np.argmax(scores))
    if not np.isfinite(scores[place]):
        raise InconclusiveError(
            "weights --method ratio:kliep: a row of Q is so far from the others that no kernel around them "
            "reaches it; leave it out, or take ratio:ulsif"
        )
    found = _likeliest(of, place, of.b, EXACT)
    facts = {"gap": found.gap, "loss": -scores[place]}
    return Ratio(of.bumps, place, found.alpha, of.standardised, facts, found.converged)


def _held_out(of: Setup, place: int, k: int) -> float:
    """Σ b ln r over a part of Q, r fitted to the others."""
    held = of.parts[1] == k
    seen = np.where(held, 0.0, of.b)
    if not seen.any():
        return 0.0
    found = _likeliest(of, place, seen / seen.sum(), ROUGH)
    ratio = of.bumps.of_width(of.q[held], place) @ found.alpha
    with np.errstate(divide="ignore"):
        logs = np.where(of.b[held] > 0, np.log(ratio), 0.0)
    return float(of.b[held] @ logs)


def _likeliest(of: Setup, place: int, mass: Array, tolerance: float) -> Proportions:
    rows = np.flatnonzero(mass > 0)
    points = of.q[rows]

    def make(at: slice) -> Array:
        return of.bumps.of_width(points[at], place)

    below = Rows(len(of.p), of.bumps.count, lambda at: of.bumps.of_width(of.p[at], place))
    level = np.zeros(of.bumps.count)
    for at in below.tiles():
        level += of.a[at] @ below.make(at)
    return likeliest(Rows(len(rows), of.bumps.count, make).kept(), mass[rows], level, tolerance)
