"""Bregman top-k: the distribution on a few classes that is nearest to another one.

With φ(x) = x^a / (a (a − 1)), at a = 1 x ln x, at a = 0 −ln x, and D(q, p) = Σ φ(q) − φ(p) − φ'(p) (q − p):
the nearest q on the k largest classes is (p^(a−1) + ν)^(1/(a−1)) with ν such that it sums to 1. The
dual takes D(p, q) in its place, with q^(a−2) (q − p) = ν. All functions take rows of the k largest
masses of a row, (B, k), with zeros where a row has fewer.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from divmatch.errors import SettingError, suggestion
from divmatch.matcher import Array

STEPS = 200  # of a root that halves its bracket at least every other one
CLOSE = 1e-14
WORDS = ("kl", "reverse-kl", "itakura-saito", "alpha:A")


@dataclass(frozen=True)
class Generator:
    """φ by its power, and whether q stands second in the divergence."""

    name: str
    power: float
    dual: bool = False

    @property
    def unit(self) -> Literal["nats", "1"]:
        """Of the divergence."""
        return "nats" if self.power == 1.0 else "1"

    @property
    def drops(self) -> bool:
        """Whether a class may lose its mass at a finite price."""
        return self.power > 1.0 if self.dual else self.power > 0.0


def generator_named(text: str, *, dual: bool = False) -> Generator:
    """Kl, reverse-kl, itakura-saito or alpha:A."""
    name, colon, number = text.strip().partition(":")
    if name == "alpha":
        try:
            power = float(number)
        except ValueError:
            power = -1.0
        if not (0 < power <= 20):
            raise SettingError(f"--generator {text}: expected alpha:A with A above 0, at most 20")
        if dual and not power > 1:
            raise SettingError(f"--dual: expected --generator alpha:A with A above 1, not {text}")
        return Generator(f"alpha:{power:g}", power, dual)
    powers = {"kl": (1.0, False), "reverse-kl": (1.0, True), "itakura-saito": (0.0, False)}
    if colon or name not in powers:
        expected = ", ".join(WORDS)
        raise SettingError(
            f"--generator {text}: expected one of {expected}{suggestion(name, WORDS)}"
        )
    if dual:
        raise SettingError(f"--dual: expected --generator alpha:A with A above 1, not {text}")
    return Generator(name, *powers[name])


def nearest(p: Array, of: Generator) -> Array:
    """The nearest distributions on the classes of ``p`` that have mass; rows (B, k), sums at most 1."""
    total = p.sum(axis=1, keepdims=True)
    if of.power == 1.0:
        return np.asarray(p / total)
    if of.power == 2.0:
        kept = p > 0
        return np.where(kept, p + (1.0 - total) / kept.sum(axis=1, keepdims=True), 0.0)
    if of.power == 1.5 and not of.dual:
        return _of_roots(p, total)
    made = _dual(p, of.power) if of.dual else _primal(p, of.power)
    return np.asarray(made / made.sum(axis=1, keepdims=True))


def price(p: Array, q: Array, of: Generator) -> Array:
    """Σ D of the classes that are kept, (B,); of those dropped see `price_of_dropped`."""
    kept = q > 0
    a = of.power
    left, right = (p, q) if of.dual else (q, p)
    left, right = np.where(kept, left, 1.0), np.where(kept, right, 1.0)
    if a == 1.0:
        terms = left * np.log(left / right) - left + right
    elif a == 0.0:
        terms = left / right - np.log(left / right) - 1.0
    else:
        terms = (left**a - right**a) / (a * (a - 1.0)) - right ** (a - 1.0) * (left - right) / (
            a - 1.0
        )
    return np.asarray(np.where(kept, terms, 0.0).sum(axis=1))


def price_of_dropped(p: Array, of: Generator) -> Array:
    """D(0, p) or, dual, D(p, 0) of every mass; inf where dropping has no finite price."""
    a = of.power
    if not of.drops:
        return np.where(p > 0, np.inf, 0.0)
    if a == 1.0:
        return p
    return np.asarray(powered(p, a) / (a * (a - 1.0) if of.dual else a))


def powered(p: Array, a: float) -> Array:
    """P^a of all classes; halves of small whole numbers by roots and products, twenty times as fast."""
    if 2.0 * a != int(2.0 * a) or not 0 < a <= 6.0:
        return np.asarray(p**a)
    made = np.sqrt(p) if a != int(a) else p.copy()
    for _ in range(int(a) if a != int(a) else int(a) - 1):
        made *= p
    return np.asarray(made)


def _of_roots(p: Array, total: Array) -> Array:
    """(√p + ν)² with the sum 1: of a quadratic, the solution that adds mass."""
    kept, roots = p > 0, np.sqrt(p)
    first, many = roots.sum(axis=1, keepdims=True), kept.sum(axis=1, keepdims=True)
    lacking = np.maximum(1.0 - total, 0.0)
    nu = lacking / (first + np.sqrt(first**2 + many * lacking))
    made = np.where(kept, (roots + nu) ** 2, 0.0)
    return np.asarray(made / made.sum(axis=1, keepdims=True))


def _primal(p: Array, a: float) -> Array:
    """(p^(a−1) + ν)^(1/(a−1)): the bracket ends where no mass is added, and where the largest is 1."""
    kept = p > 0
    base = np.where(kept, np.where(kept, p, 1.0) ** (a - 1.0), np.inf if a < 1 else 0.0)
    power = 1.0 / (a - 1.0)
    end = 1.0 - (base.min(axis=1) if a < 1 else base.max(axis=1))

    def made(nu: Array) -> tuple[Array, Array]:
        inner = np.where(kept, base + nu[:, None], 1.0)
        q = np.where(kept, inner**power, 0.0)
        return q, (power * np.where(kept, q / inner, 0.0)).sum(axis=1)

    low, high = (np.minimum(end, 0.0), np.maximum(end, 0.0))
    return _root(made, low, high, falling=a < 1)


def _dual(p: Array, a: float) -> Array:
    """q^(a−2) (q − p) = ν, q by Newton's steps from above for each ν."""
    kept = p > 0
    safe = np.where(kept, p, 1.0)

    def made(nu: Array) -> tuple[Array, Array]:
        q = _above(safe, nu[:, None], a)
        slope = q ** (a - 3.0) * ((a - 1.0) * q - (a - 2.0) * safe)
        return np.where(kept, q, 0.0), np.where(kept, 1.0 / slope, 0.0).sum(axis=1)

    top = p.max(axis=1)
    return _root(made, np.zeros(len(p)), 1.0 - top, falling=False)


def _above(p: Array, nu: Array, a: float) -> Array:
    """Q ≥ p with q^(a−2) (q − p) = ν, by bisection and Newton's steps in [p, p + 1]."""
    low, high = p.copy(), p + 1.0
    q = p + np.minimum(1.0, nu)
    for _ in range(STEPS):
        gap = q ** (a - 2.0) * (q - p) - nu
        low, high = np.where(gap < 0, q, low), np.where(gap > 0, q, high)
        step = q - gap / (q ** (a - 3.0) * ((a - 1.0) * q - (a - 2.0) * p))
        inside = (step >= low) & (step <= high)
        found = np.where(gap == 0, q, np.where(inside, step, 0.5 * (low + high)))
        done = np.abs(found - q) <= CLOSE * q
        q = found
        if done.all():
            break
    return q


def _root(made, low: Array, high: Array, *, falling: bool) -> Array:  # type: ignore[no-untyped-def]
    """The q that sums to 1 in every row: Newton's steps inside a bracket, else its middle."""
    nu = low if falling else high
    q, slope = made(nu)
    before = np.full(len(nu), np.inf)
    for _ in range(STEPS):
        gap = q.sum(axis=1) - 1.0
        if (np.abs(gap) <= CLOSE).all():
            break
        over = (gap > 0) != falling
        low, high = np.where(over, low, nu), np.where(over, nu, high)
        with np.errstate(all="ignore"):
            step = nu - gap / slope
        slow = np.abs(gap) > 0.5 * before
        inside = (step >= low) & (step <= high) & np.isfinite(step) & ~slow
        before = np.where(slow, np.inf, np.abs(gap))
        moved = np.where(np.abs(gap) <= CLOSE, nu, np.where(inside, step, 0.5 * (low + high)))
        if (moved == nu).all():
            break
        nu = moved
        q, slope = made(nu)
    return np.asarray(q)
