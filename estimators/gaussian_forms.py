"""Divergences between two Gaussians, with their derivatives, in coordinates that make both diagonal."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from divmatch.estimators.generators import Generator

Array = NDArray[np.float64]

DRAWS = 1 << 16  # of each Gaussian, where neither a closed form nor the line helps
REACH = 12.0  # standard deviations beyond which a Gaussian is 0 in double precision


@dataclass(frozen=True, eq=False)
class Frame:
    """Coordinates in which Q is N(0, I) and P is N(shift, diag(scale)), and both samples' rows there."""

    rows_p: Array  # (n, d), centred on P's mean
    rows_q: Array  # (m, d)
    shift: Array  # (d,)
    scale: Array  # (d,), variances


class Form(NamedTuple):
    """A value with the influence of every row of P and of Q, up to constants."""

    value: float
    terms_x: Array
    terms_y: Array
    error: float | None = None

    def through(self, value: float, slope: float) -> "Form":
        """A function of the value, with that slope."""
        return Form(value, slope * self.terms_x, slope * self.terms_y, self.error)

    def swapped(self) -> "Form":
        """The same with P and Q exchanged."""
        return Form(self.value, self.terms_y, self.terms_x, self.error)


def frame(x: Array, y: Array, mean_p: Array, cov_p: Array, mean_q: Array, chol_q: Array) -> Frame:
    """Whiten by Q, then turn to the axes of P."""
    inner = np.linalg.solve(chol_q, cov_p)
    inner = np.linalg.solve(chol_q, inner.T)
    scale, axes = np.linalg.eigh(0.5 * (inner + inner.T))
    to_axes = np.linalg.solve(chol_q.T, axes)  # rows @ to_axes are the new coordinates
    return Frame(
        (x - mean_p) @ to_axes,
        (y - mean_q) @ to_axes,
        (mean_p - mean_q) @ to_axes,
        np.maximum(scale, np.finfo(float).tiny),
    )


def renyi_form(order: float, of: Frame) -> Form:
    """(a/2) Σ δ²/s + ½ Σ [ln(s)/(1 − a) − ln λ], s = a + (1 − a) λ; any a but 0; inf where s <= 0.

    δ is the shift and λ the scale. At a = inf the largest ln(p/q): finite where all λ < 1.
    """
    a, shift, scale = order, of.shift, of.scale
    if math.isinf(a):
        left = 1.0 - scale
        if not (left > 0).all():
            return _infinite(of)
        u = shift / left
        value = 0.5 * float(np.sum(shift * u - np.log(scale)))
        both = np.outer(u, u)
        cov_p, cov_q = 0.5 * (both - np.diag(1.0 / scale)), 0.5 * (np.eye(len(u)) - both)
        return _form(of, value, u, -u, cov_p, cov_q)
    mixed = a + (1.0 - a) * scale
    if not (mixed > 0).all():
        return _infinite(of)
    u = shift / mixed
    logs = scale - 1.0 if a == 1 else np.log1p((1.0 - a) * (scale - 1.0)) / (1.0 - a)
    value = 0.5 * float(np.sum(a * shift * u + logs - np.log(scale)))
    cov_p = 0.5 * (a * (a - 1.0) * np.outer(u, u) + np.diag(1.0 / mixed - 1.0 / scale))
    cov_q = 0.5 * a * (np.diag((1.0 - scale) / mixed) - a * np.outer(u, u))
    return _form(of, value, a * u, -a * u, cov_p, cov_q)


def alpha_form(a: float, of: Frame) -> Form:
    """D_alpha = (e^((a − 1) R_a) − 1) / (a (a − 1)), KL at a = 1; any a but 0."""
    of_order = renyi_form(a, of)
    if a == 1:
        return of_order
    if math.isinf(of_order.value):
        return of_order
    with np.errstate(over="ignore"):
        power = float(np.exp((a - 1.0) * of_order.value))
    if math.isinf(power):
        return _infinite(of)
    return of_order.through(math.expm1((a - 1.0) * of_order.value) / (a * (a - 1.0)), power / a)


def _infinite(of: Frame) -> Form:
    return Form(math.inf, np.zeros(len(of.rows_p)), np.zeros(len(of.rows_q)))


def _form(
    of: Frame, value: float, mean_p: Array, mean_q: Array, cov_p: Array, cov_q: Array
) -> Form:
    """Influences from the derivatives by means and covariances."""
    return Form(
        value,
        of.rows_p @ mean_p + quadratic(of.rows_p, cov_p),
        of.rows_q @ mean_q + quadratic(of.rows_q, cov_q),
    )


def quadratic(rows: Array, matrix: Array) -> Array:
    """R' M r of every row."""
    return np.einsum("ij,ij->i", rows @ matrix, rows)


# ------------------------------------------------------------------------- by numerical integration


def integrated_form(generator: Generator, of: Frame, rng: "np.random.Generator") -> Form:
    """D_f by quadrature in one column, else as the mean of DRAWS draws of each Gaussian, with its error."""
    if len(of.shift) == 1:
        return _quadrature(generator, of)
    deviates = rng.standard_normal((DRAWS // 2, len(of.shift)))
    deviates = np.concatenate([deviates, -deviates])
    nodes = of.shift + np.sqrt(of.scale) * deviates, deviates
    equal = np.full(DRAWS, 1.0 / DRAWS)
    return _mixture_mean(generator, of, nodes, (equal, equal), sampled=True)


def _quadrature(generator: Generator, of: Frame) -> Form:
    """Gauss-Legendre between edges that resolve both Gaussians, and the points where p = q."""
    shift, spread = float(of.shift[0]), math.sqrt(float(of.scale[0]))
    steps = np.linspace(-REACH, REACH, 49)
    edges = np.unique(np.concatenate([steps, shift + spread * steps, _crossings(shift, spread)]))
    at, weights = np.polynomial.legendre.leggauss(20)
    half = 0.5 * np.diff(edges)
    points = (0.5 * (edges[:-1] + edges[1:]) + at[:, None] * half).ravel()
    measure = (weights[:, None] * half).ravel()
    norm = 1.0 / math.sqrt(2.0 * math.pi)
    p = measure * norm / spread * np.exp(-0.5 * ((points - shift) / spread) ** 2)
    q = measure * norm * np.exp(-0.5 * points**2)
    nodes = points[:, None]
    return _mixture_mean(generator, of, (nodes, nodes), (p, q), sampled=False)


def _crossings(shift: float, spread: float) -> Array:
    """Where the two densities are equal."""
    c = (shift / spread) ** 2 + 2.0 * math.log(spread)
    roots = np.roots([1.0 / spread**2 - 1.0, -2.0 * shift / spread**2, c])
    return np.asarray(roots[np.abs(roots.imag) < 1e-12].real)


def _mixture_mean(
    generator: Generator,
    of: Frame,
    nodes: tuple[Array, Array],
    weights: tuple[Array, Array],
    *,
    sampled: bool,
) -> Form:
    """½ E_P g + ½ E_Q g with g = 2 f(r) / (1 + r), which is bounded where f is of linear growth."""
    shift, scale = of.shift, of.scale
    values, parts_p, parts_q = [], [], []
    for points, mass in zip(nodes, weights, strict=True):
        centred = (points - shift) / scale
        log_ratio = 0.5 * np.sum(points**2 - (points - shift) ** 2 / scale - np.log(scale), axis=1)
        ratio = np.exp(np.clip(log_ratio, -690.0, 690.0))
        f, slope = generator.f(ratio), generator.slope(ratio)
        # the densities p and q as parts of their mean, whatever the ratio
        of_p, of_q = ratio / (1.0 + ratio), 1.0 / (1.0 + ratio)
        values.append((mass, 2.0 * f * of_q))
        parts_p.append(_score_means(mass * slope * of_p, centred, 1.0 / scale))
        left = (f - ratio * slope) * of_q
        parts_q.append(_score_means(mass * left, points, np.ones_like(scale)))
    value = 0.5 * sum(float(mass @ g) for mass, g in values)
    error = None
    if sampled:
        error = math.sqrt(_antithetic_variance(0.5 * (values[0][1] + values[1][1])))  # same draws
    (mean_p, cov_p), (mean_q, cov_q) = (
        tuple(sum(part) for part in zip(*parts, strict=True)) for parts in (parts_p, parts_q)
    )
    return _form(of, value, mean_p, mean_q, cov_p, cov_q)._replace(error=error)


def _antithetic_variance(g: Array) -> float:
    """Variance of the mean of g, whose halves are pairs of opposite draws."""
    half = len(g) // 2
    pairs = 0.5 * (g[:half] + g[half:])
    return float(pairs.var(ddof=1)) / half


def _score_means(weights: Array, scores: Array, precision: Array) -> tuple[Array, Array]:
    """Weighted sums of the derivatives of ln N by its mean, and by its covariance."""
    second = (scores * weights[:, None]).T @ scores
    return weights @ scores, 0.5 * (second - weights.sum() * np.diag(precision))
