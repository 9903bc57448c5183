"""Domains with an edge, and the mirror maps that take it away: η = ∇ψ(θ) may be any row of numbers."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from divmatch.errors import SampleError, SettingError, suggestion
from divmatch.matcher import Array
from divmatch.target_kinds import Target

SUM = 1e-6  # how far from 1 the shares of a row may sum
LEAST = 1e-300  # a share: scores divide by it


class Mirror(Protocol):
    """A map between rows θ of a domain and free ones η, with the Hessian of its ψ."""

    def free(self, rows: Array, name: str) -> Array:
        """η of rows inside the domain; others are refused."""
        ...

    def rows(self, free: Array) -> Array:
        """θ."""
        ...

    def coordinates(self, rows: Array) -> Array:
        """As many columns of θ as η has: those by which ψ is differentiated."""
        ...

    def scores(self, rows: Array, scores: Array) -> Array:
        """∇ ln p of η from that of θ: (∇²ψ)⁻¹ ∇ ln p(θ) and the gradient of ln det ∇²ψ*."""
        ...

    def inverse(self, rows: Array) -> Array:
        """(∇²ψ)⁻¹ at every row, (n, d, d)."""
        ...

    def hessian(self, rows: Array) -> Array:
        """∇²ψ at every row, (n, d, d)."""
        ...


@dataclass(frozen=True)
class Simplex:
    """Shares that sum to 1: ηᵢ = ln θᵢ / θ_D, one column less."""

    def free(self, rows: Array, name: str) -> Array:
        """See `Mirror`."""
        if rows.shape[1] < 2:
            raise SampleError(f"{name}: a simplex has two columns or more")
        sums = rows.sum(axis=1)
        bad = np.flatnonzero(~((rows > 0).all(axis=1) & (np.abs(sums - 1) <= SUM)))
        if len(bad):
            raise SampleError(
                f"{name}: row {bad[0]} is not inside the simplex: expected numbers above 0 that sum to 1"
            )
        return np.log(rows[:, :-1]) - np.log(rows[:, -1:])

    def rows(self, free: Array) -> Array:
        """See `Mirror`."""
        heights = np.column_stack([free, np.zeros(len(free))])
        shares = np.exp(heights - heights.max(axis=1, keepdims=True))
        return np.maximum(shares / shares.sum(axis=1, keepdims=True), LEAST)

    def coordinates(self, rows: Array) -> Array:
        """See `Mirror`."""
        return rows[:, :-1]

    def scores(self, rows: Array, scores: Array) -> Array:
        """θ (g − Σ θ g) + 1 − D θ of all shares but the last."""
        drawn = rows * scores
        made = drawn - rows * drawn.sum(axis=1, keepdims=True) + 1.0 - rows.shape[1] * rows
        return np.ascontiguousarray(made[:, :-1])

    def inverse(self, rows: Array) -> Array:
        """Diag θ − θ θᵀ."""
        own = self.coordinates(rows)
        return own[:, :, None] * np.eye(own.shape[1]) - own[:, :, None] * own[:, None, :]

    def hessian(self, rows: Array) -> Array:
        """Diag 1/θ + 1/θ_D."""
        own = self.coordinates(rows)
        return np.eye(own.shape[1]) / own[:, :, None] + 1.0 / rows[:, -1][:, None, None]


class Columns:
    """Domains whose columns are free of one another: ∇²ψ is diagonal."""

    def widths(self, rows: Array) -> Array:
        """The diagonal of (∇²ψ)⁻¹ at every row, (n, d)."""
        raise NotImplementedError

    def slopes(self, rows: Array) -> Array:
        """The gradient of ln det ∇²ψ*, (n, d)."""
        raise NotImplementedError

    def coordinates(self, rows: Array) -> Array:
        """See `Mirror`."""
        return rows

    def scores(self, rows: Array, scores: Array) -> Array:
        """See `Mirror`."""
        return self.widths(rows) * scores + self.slopes(rows)

    def inverse(self, rows: Array) -> Array:
        """See `Mirror`."""
        return self.widths(rows)[:, :, None] * np.eye(rows.shape[1])

    def hessian(self, rows: Array) -> Array:
        """See `Mirror`."""
        return np.eye(rows.shape[1]) / self.widths(rows)[:, :, None]


@dataclass(frozen=True)
class Positive(Columns):
    """Numbers above 0: η = ln θ."""

    def free(self, rows: Array, name: str) -> Array:
        """See `Mirror`."""
        _inside(rows > 0, name, "numbers above 0")
        return np.log(rows)

    def rows(self, free: Array) -> Array:
        """See `Mirror`."""
        return np.maximum(np.exp(free), LEAST)

    def widths(self, rows: Array) -> Array:
        """See `Columns`."""
        return rows

    def slopes(self, rows: Array) -> Array:
        """See `Columns`."""
        return np.ones_like(rows)


@dataclass(frozen=True)
class Box(Columns):
    """Numbers between two bounds: η is the logit of the place between them."""

    low: float
    high: float

    def free(self, rows: Array, name: str) -> Array:
        """See `Mirror`."""
        inside = (rows > self.low) & (rows < self.high)
        _inside(inside, name, f"numbers above {self.low:g} and below {self.high:g}")
        return np.log(rows - self.low) - np.log(self.high - rows)

    def rows(self, free: Array) -> Array:
        """See `Mirror`."""
        return self.low + (self.high - self.low) / (1.0 + np.exp(-np.clip(free, -700, 700)))

    def widths(self, rows: Array) -> Array:
        """See `Columns`."""
        return (rows - self.low) * (self.high - rows) / (self.high - self.low)

    def slopes(self, rows: Array) -> Array:
        """See `Columns`."""
        return (self.low + self.high - 2.0 * rows) / (self.high - self.low)


def _inside(good: "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]", name: str, what: str) -> None:
    bad = np.flatnonzero(~good.all(axis=1))
    if len(bad):
        raise SampleError(f"{name}: row {bad[0]} is not inside the domain: expected {what}")


def mirror_of(text: str) -> Mirror:
    """The map of a domain: simplex, positive or box:LOW,HIGH."""
    if text == "simplex":
        return Simplex()
    if text == "positive":
        return Positive()
    kind, _, bounds = text.partition(":")
    try:
        low, high = map(float, bounds.split(","))
    except ValueError:
        low = high = 0.0
    if kind == "box" and np.isfinite(high - low) and low < high:
        return Box(low, high)
    near = suggestion(kind, ("simplex", "positive", "box")) if not bounds else ""
    raise SettingError(f"--domain {text}: expected simplex, positive or box:LOW,HIGH{near}")


def domain_named(text: str) -> str:
    """Refuse what names no domain."""
    mirror_of(text)
    return text


def spread(domain: str | None, n: int, d: int, rng: "np.random.Generator") -> Array:
    """First particles, all over the domain: standard normal where it has no edge."""
    if domain == "simplex":
        shares = np.maximum(rng.standard_exponential((n, d)), LEAST)
        return np.asarray(shares / shares.sum(axis=1, keepdims=True))
    if domain == "positive":
        return np.exp(rng.standard_normal((n, d)))
    if domain is None:
        return rng.standard_normal((n, d))
    box = mirror_of(domain)
    assert isinstance(box, Box)  # noqa: S101
    return box.low + (box.high - box.low) * rng.uniform(0.01, 0.99, (n, d))


class Mirrored(Target):
    """A target on a domain as the density of η, which lives everywhere."""

    def __init__(self, target: Target, mirror: Mirror) -> None:
        self.target, self.mirror = target, mirror

    def scores(self, points: Array) -> Array:
        """∇ ln p of η."""
        rows = self.mirror.rows(points)
        return self.mirror.scores(rows, self.target.scores(rows))
