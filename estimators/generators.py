"""f-divergences D_f(P || Q) = E_Q f(p/q): one object for each generator f, convex with f(1) = 0.

Names, scales and domains are those of the table in `divmatch help divergences`: js lies in
[0, ln 2], hellinger in [0, 1] is 1 − ∫ √(p q), tv in [0, 1], le-cam in [0, 2].
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import SettingError, suggestion

Array = NDArray[np.float64]
Function = Callable[[Array], Array]
LN2 = math.log(2.0)


@dataclass(frozen=True)
class Generator:
    """f with its derivatives, conjugate and limits; all functions are vectorised over r = p/q > 0.

    ``at_zero`` is f(0+), the price of mass of Q where P has none; ``at_infinity`` is
    lim f(t)/t, the price of mass of P where Q has none. ``conjugate`` is f*(t) = sup_r (r t − f(r)),
    infinite outside its domain; ``activation`` maps a critic's real output into that domain.
    """

    name: str
    f: Function
    slope: Function
    curvature: Function
    conjugate: Function
    activation: Function
    at_zero: float
    at_infinity: float
    unit: str = "1"
    symmetric: bool = False

    def weight(self, r: Array) -> Array:
        """h(r) = r² f''(r): how much a log-ratio counts in the gradient (arXiv 2502.15681)."""
        return r * r * self.curvature(r)

    def reversed(self) -> "Generator":
        """The generator r f(1/r) of D_f(Q || P)."""
        return replace(
            self,
            name=f"{self.name} reversed",
            f=lambda r: r * self.f(1 / r),
            slope=lambda r: self.f(1 / r) - self.slope(1 / r) / r,
            curvature=lambda r: self.curvature(1 / r) / r**3,
            at_zero=self.at_infinity,
            at_infinity=self.at_zero,
        )


def from_slope(generator: Generator, r: Array) -> Array:
    """f*(f'(r)) = r f'(r) − f(r): the conjugate where a critic knows the ratio."""
    return r * generator.slope(r) - generator.f(r)


@cache
def generator(kind: str) -> Generator:
    """The generator called ``kind``: js, tv, alpha:0.5, skew-js:0.1, ..."""
    name, colon, text = kind.strip().partition(":")
    if name in FIXED and not colon:
        return FIXED[name]
    if name in FAMILIES and colon:
        try:
            return FAMILIES[name](float(text))
        except ValueError:
            raise SettingError(f"--kind {kind}: '{text}' is not a number") from None
    if name in FAMILIES:
        raise SettingError(f"--kind {kind}: needs a number; write {name}:0.5")
    if name in FIXED:
        raise SettingError(f"--kind {kind}: {name} takes no number; write {name}")
    known = [*FIXED, *(f"{family}:A" for family in FAMILIES)]
    near = suggestion(name, [*FIXED, *FAMILIES])
    raise SettingError(f"--kind {kind}: expected one of {', '.join(known)}{near}")


# ----------------------------------------------------------------------------------- functions


def _x_ln_x(x: Array) -> Array:
    """Product x ln x, 0 at x = 0."""
    return np.asarray(x * np.log(np.where(x > 0, x, 1.0)))


def _within(t: Array, inside: NDArray[np.bool_], value: Array) -> Array:
    return np.where(inside, value, np.inf)


def _lambert_0(x: Array) -> Array:
    from scipy.special import lambertw

    return np.asarray(lambertw(x, 0).real)


def _lambert_minus_1(x: Array) -> Array:
    from scipy.special import lambertw

    return np.asarray(lambertw(x, -1).real)


def _soft_conjugate(t: Array) -> Array:
    w = -_lambert_minus_1(-2.0 * np.exp(np.minimum(t, -LN2) - 1.0))
    return _within(t, t <= -LN2, -1.0 - np.log(w / 2.0))


def _jeffreys_conjugate(t: Array) -> Array:
    w = _lambert_0(np.exp(1.0 - t))
    return w + 1.0 / w + t - 2.0


FIXED = {
    g.name: g
    for g in (
        Generator(
            "kl",
            f=_x_ln_x,
            slope=lambda r: 1.0 + np.log(r),
            curvature=lambda r: 1.0 / r,
            conjugate=lambda t: np.exp(t - 1.0),
            activation=lambda v: v,
            at_zero=0.0,
            at_infinity=math.inf,
            unit="nats",
        ),
        Generator(
            "reverse-kl",
            f=lambda r: -np.log(r),
            slope=lambda r: -1.0 / r,
            curvature=lambda r: 1.0 / r**2,
            conjugate=lambda t: _within(t, t < 0, -1.0 - np.log(np.where(t < 0, -t, 1.0))),
            activation=lambda v: -np.exp(-v),
            at_zero=math.inf,
            at_infinity=0.0,
            unit="nats",
        ),
        Generator(  # 2 KL((P + Q)/2 || P)
            "softened-rkl",
            f=lambda r: (r + 1.0) * np.log(0.5 + 0.5 / r),
            slope=lambda r: np.log((r + 1.0) / (2.0 * r)) - 1.0 / r,
            curvature=lambda r: 1.0 / (r * r * (r + 1.0)),
            conjugate=_soft_conjugate,
            activation=lambda v: -LN2 - np.logaddexp(0.0, -v),
            at_zero=math.inf,
            at_infinity=-LN2,
            unit="nats",
        ),
        Generator(
            "jeffreys",
            f=lambda r: (r - 1.0) * np.log(r),
            slope=lambda r: np.log(r) + 1.0 - 1.0 / r,
            curvature=lambda r: (r + 1.0) / r**2,
            conjugate=_jeffreys_conjugate,
            activation=lambda v: v,
            at_zero=math.inf,
            at_infinity=math.inf,
            unit="nats",
            symmetric=True,
        ),
        Generator(  # half of the GAN's
            "js",
            f=lambda r: 0.5 * (_x_ln_x(r) - (r + 1.0) * np.log((r + 1.0) / 2.0)),
            slope=lambda r: 0.5 * np.log(2.0 * r / (r + 1.0)),
            curvature=lambda r: 0.5 / (r * (r + 1.0)),
            conjugate=lambda t: _within(
                t, t < LN2 / 2, -0.5 * np.log(np.where(t < LN2 / 2, 2.0 - np.exp(2.0 * t), 1.0))
            ),
            activation=lambda v: 0.5 * (LN2 - np.logaddexp(0.0, -v)),
            at_zero=LN2 / 2,
            at_infinity=LN2 / 2,
            unit="nats",
            symmetric=True,
        ),
        Generator(
            "js-gan",
            f=lambda r: _x_ln_x(r) - (r + 1.0) * np.log((r + 1.0) / 2.0),
            slope=lambda r: np.log(2.0 * r / (r + 1.0)),
            curvature=lambda r: 1.0 / (r * (r + 1.0)),
            conjugate=lambda t: _within(
                t, t < LN2, -np.log(np.where(t < LN2, 2.0 - np.exp(t), 1.0))
            ),
            activation=lambda v: LN2 - np.logaddexp(0.0, -v),
            at_zero=LN2,
            at_infinity=LN2,
            unit="nats",
            symmetric=True,
        ),
        Generator(  # 1 − ∫ √(p q)
            "hellinger",
            f=lambda r: 1.0 - np.sqrt(r),
            slope=lambda r: -0.5 / np.sqrt(r),
            curvature=lambda r: 0.25 * r**-1.5,
            conjugate=lambda t: _within(t, t < 0, -1.0 - 0.25 / np.where(t < 0, t, -1.0)),
            activation=lambda v: -np.exp(-v),
            at_zero=1.0,
            at_infinity=0.0,
            symmetric=True,
        ),
        Generator(  # 2 (1 − ∫ √(p q))
            "hellinger-gan",
            f=lambda r: (np.sqrt(r) - 1.0) ** 2,
            slope=lambda r: 1.0 - 1.0 / np.sqrt(r),
            curvature=lambda r: 0.5 * r**-1.5,
            conjugate=lambda t: _within(t, t < 1, t / np.where(t < 1, 1.0 - t, 1.0)),
            activation=lambda v: 1.0 - np.exp(-v),
            at_zero=1.0,
            at_infinity=1.0,
            symmetric=True,
        ),
        Generator(
            "chi2",
            f=lambda r: (r - 1.0) ** 2,
            slope=lambda r: 2.0 * (r - 1.0),
            curvature=lambda r: np.full_like(r, 2.0),
            conjugate=lambda t: np.where(t >= -2.0, t + t * t / 4.0, -1.0),
            activation=lambda v: v,
            at_zero=1.0,
            at_infinity=math.inf,
        ),
        Generator(  # chi2 of (Q, P)
            "neyman",
            f=lambda r: (r - 1.0) ** 2 / r,
            slope=lambda r: 1.0 - 1.0 / r**2,
            curvature=lambda r: 2.0 / r**3,
            conjugate=lambda t: _within(t, t <= 1, 2.0 - 2.0 * np.sqrt(np.maximum(1.0 - t, 0.0))),
            activation=lambda v: 1.0 - np.exp(-v),
            at_zero=math.inf,
            at_infinity=1.0,
        ),
        Generator(  # Vincze-Le Cam, triangular
            "le-cam",
            f=lambda r: (r - 1.0) ** 2 / (r + 1.0),
            slope=lambda r: 1.0 - 4.0 / (r + 1.0) ** 2,
            curvature=lambda r: 8.0 / (r + 1.0) ** 3,
            conjugate=lambda t: np.where(
                t < -3.0,
                -1.0,
                _within(t, t <= 1, 4.0 - t - 4.0 * np.sqrt(np.maximum(1.0 - t, 0.0))),
            ),
            activation=lambda v: 1.0 - np.exp(-v),
            at_zero=1.0,
            at_infinity=1.0,
            symmetric=True,
        ),
        Generator(
            "tv",
            f=lambda r: 0.5 * np.abs(r - 1.0),
            slope=lambda r: 0.5 * np.sign(r - 1.0),
            curvature=lambda r: np.zeros_like(r),
            conjugate=lambda t: np.where(t < -0.5, -0.5, _within(t, t <= 0.5, t)),
            activation=lambda v: 0.5 * np.tanh(v),
            at_zero=0.5,
            at_infinity=0.5,
            symmetric=True,
        ),
    )
}


def skew_js(a: float) -> Generator:
    """[a KL(P || M) + (1 − a) KL(Q || M)] / (a (1 − a)), M = a P + (1 − a) Q, with 0 < a < 1.

    a → 0 gives KL(P || Q), a → 1 gives KL(Q || P).
    """
    if not 0 < a < 1:
        raise SettingError(f"--kind skew-js:{a:g}: expected a number above 0, below 1")
    edge = -math.log(a) / (1.0 - a)

    def mixed(r: Array) -> Array:
        return a * r + (1.0 - a)

    return Generator(
        f"skew-js:{a:g}",
        f=lambda r: (a * _x_ln_x(r) - mixed(r) * np.log(mixed(r))) / (a * (1.0 - a)),
        slope=lambda r: np.log(r / mixed(r)) / (1.0 - a),
        curvature=lambda r: 1.0 / (r * mixed(r)),
        conjugate=lambda t: _within(
            t,
            t < edge,
            -np.log((1.0 - a * np.exp((1.0 - a) * np.minimum(t, edge - 1e-15))) / (1.0 - a)) / a,
        ),
        activation=lambda v: edge - np.logaddexp(0.0, -v),
        at_zero=-math.log(1.0 - a) / a,
        at_infinity=edge,
        unit="nats",
    )


def alpha(a: float) -> Generator:
    """(r^a − 1 − a (r − 1)) / (a (a − 1)); KL at a = 1, reverse KL at a = 0, their limits."""
    if not math.isfinite(a):
        raise SettingError(f"--kind alpha:{a:g}: expected a finite number")
    if a in (0.0, 1.0):
        return replace(FIXED["kl" if a else "reverse-kl"], name=f"alpha:{a:g}")
    b = a - 1.0

    def f(r: Array) -> Array:
        # expm1 keeps the digits that r^a − 1 would lose near a = 0 and a = 1
        if abs(a) < abs(b):
            return np.asarray((np.expm1(a * np.log(r)) / a - (r - 1.0)) / b)
        return np.asarray((r * np.expm1(b * np.log(r)) / b - (r - 1.0)) / a)

    def conjugate(t: Array) -> Array:
        base = np.asarray(1.0 + b * t)
        power = np.where(base > 0, base, 1.0) ** (a / b)
        if a > 1:
            return np.where(base > 0, (power - 1.0) / a, -1.0 / a)
        value = (power - 1.0) / a
        return _within(t, base > 0, value)

    return Generator(
        f"alpha:{a:g}",
        f=f,
        slope=lambda r: np.expm1(b * np.log(r)) / b,
        curvature=lambda r: r ** (a - 2.0),
        conjugate=conjugate,
        activation=lambda v: np.expm1(b * v) / b,
        at_zero=1.0 / a if a > 0 else math.inf,
        at_infinity=math.inf if a >= 1 else 1.0 / (1.0 - a),
        symmetric=a == 0.5,
    )


FAMILIES: dict[str, Callable[[float], Generator]] = {"skew-js": skew_js, "alpha": alpha}
