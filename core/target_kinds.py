"""Densities that are known up to a constant: their scores ∇ ln p and ln p + constant at rows."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from divmatch.samples import Points

Array = NDArray[np.float64]

ROOM = 1 << 22  # numbers of a block of distances


class Target:
    """A density on rows of numbers. ``simplex`` says that its rows are at least 0 and sum to 1."""

    simplex = False

    def scores(self, points: Points) -> Points:
        """∇ ln p at every row, (n, d)."""
        raise NotImplementedError

    def log_density(self, points: Points) -> Array | None:
        """Ln p + constant at every row, (n,); None where only scores are known."""
        return None


@dataclass(frozen=True, eq=False)
class Gaussian(Target):
    """A Gaussian: its mean, its logarithm's normalisation, and x ↦ Σ⁻¹ x for rows x."""

    mean: Points
    logarithm: float
    solve: Callable[[Points], Points]

    def scores(self, points: Points) -> Points:
        """−Σ⁻¹ (x − μ) of every row."""
        return self.solve(self.mean - points)

    def log_density(self, points: Points) -> Array:
        """−(x − μ)ᵀ Σ⁻¹ (x − μ) / 2."""
        gap = self.mean - points
        return self.logarithm - 0.5 * np.einsum("ij,ij->i", gap, self.solve(gap))


@dataclass(frozen=True, eq=False)
class Student(Target):
    """Student's t in d dimensions: heavier tails than ``base``, the Gaussian of its shape."""

    base: Gaussian
    freedom: float

    def scores(self, points: Points) -> Points:
        """−(ν + d) / (ν + q) Σ⁻¹ (x − μ) with q = (x − μ)ᵀ Σ⁻¹ (x − μ)."""
        gap = self.base.mean - points
        lean = self.base.solve(gap)
        q = np.einsum("ij,ij->i", gap, lean)
        return ((self.freedom + points.shape[1]) / (self.freedom + q))[:, None] * lean

    def log_density(self, points: Points) -> Array:
        """−(ν + d) / 2 ln(1 + q / ν)."""
        q = -2.0 * (self.base.log_density(points) - self.base.logarithm)
        return -0.5 * (self.freedom + points.shape[1]) * np.log1p(q / self.freedom)


@dataclass(frozen=True, eq=False)
class Mixture(Target):
    """Gaussians, each with ln weight + ln normalisation."""

    parts: tuple[tuple[float, Gaussian], ...]

    def scores(self, points: Points) -> Points:
        """Σ rₖ sₖ / Σ rₖ; the shares rₖ are kept in proportion to the largest: none underflows."""
        return self._both(points)[0]

    def log_density(self, points: Points) -> Array:
        """Ln Σ wₖ N(x; μₖ, Σₖ)."""
        return self._both(points)[1]

    def _both(self, points: Points) -> tuple[Points, Array]:
        top = np.full(len(points), -np.inf)
        total, found = np.zeros(len(points)), np.zeros(points.shape)
        for logarithm, one in self.parts:
            lean = one.scores(points)
            height = logarithm + 0.5 * np.einsum("ij,ij->i", lean, points - one.mean)
            highest = np.maximum(top, height)
            before, now = np.exp(top - highest), np.exp(height - highest)
            total = total * before + now
            found = found * before[:, None] + now[:, None] * lean
            top = highest
        return found / total[:, None], top + np.log(total)


@dataclass(frozen=True, eq=False)
class Smoothed(Target):
    """Gaussian bumps of one width on the rows of a file: its kernel density estimate."""

    rows: Points
    width: float

    def scores(self, points: Points) -> Points:
        """(Σ rⱼ yⱼ − x) / s² with the shares rⱼ of the rows yⱼ."""
        return self._both(points)[0]

    def log_density(self, points: Points) -> Array:
        """Ln mean exp(−|x − yⱼ|² / (2 s²))."""
        return self._both(points)[1]

    def _both(self, points: Points) -> tuple[Points, Array]:
        """In blocks of rows, so that no n × m matrix is kept."""
        centre = self.rows.mean(axis=0)
        rows = self.rows - centre
        squares = np.einsum("ij,ij->i", rows, rows)
        found, heights = np.empty(points.shape), np.empty(len(points))
        size = max(1, ROOM // len(rows))
        for first in range(0, len(points), size):
            x = points[first : first + size] - centre
            heights_of = (x @ rows.T - 0.5 * squares) / self.width**2  # less |x|² / (2 s²)
            top = heights_of.max(axis=1, keepdims=True)
            shares = np.exp(heights_of - top)
            total = shares.sum(axis=1, keepdims=True)
            found[first : first + size] = (shares @ rows / total - x) / self.width**2
            lost = 0.5 * np.einsum("ij,ij->i", x, x) / self.width**2
            heights[first : first + size] = (top + np.log(total / len(rows)))[:, 0] - lost
        return found, heights


@dataclass(frozen=True, eq=False)
class Logistic(Target):
    """The posterior of a logistic regression's coefficients under a normal prior."""

    rows: Points
    labels: Array
    prior: float

    def scores(self, points: Points) -> Points:
        """Xᵀ (y − σ(Xθ)) − θ / v."""
        chances = 1.0 / (1.0 + np.exp(-np.clip(points @ self.rows.T, -700, 700)))
        return (self.labels - chances) @ self.rows - points / self.prior

    def log_density(self, points: Points) -> Array:
        """Σ y xᵀθ − ln(1 + exp xᵀθ) − |θ|² / (2 v)."""
        leaning = points @ self.rows.T
        fit = leaning @ self.labels - np.logaddexp(0.0, leaning).sum(axis=1)
        return fit - 0.5 * np.einsum("ij,ij->i", points, points) / self.prior


@dataclass(frozen=True, eq=False)
class Dirichlet(Target):
    """A Dirichlet distribution of shares; the score is by every share, as if they were free."""

    alpha: Array
    simplex = True

    def scores(self, points: Points) -> Points:
        """(α − 1) / x."""
        return (self.alpha - 1.0) / points

    def log_density(self, points: Points) -> Array:
        """Σ (α − 1) ln x."""
        return np.log(points) @ (self.alpha - 1.0)
