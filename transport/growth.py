"""Convex functions Φ of Orlicz norms: powers, and exponentials of them; the norm of a list of gaps."""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import SettingError, suggestion
from divmatch.kernels.ground import Ground

Array = NDArray[np.float64]

STEPS = 200  # of Newton's method, which needs about as many as the logarithm of the number of gaps
SETTLED = 4e-16


@dataclass(frozen=True)
class Growth:
    """Φ(t) = t^power, or exp(t^power) − 1."""

    power: float
    exponential: bool = False

    def of(self, t: Array) -> Array:
        """Φ(t)."""
        raised = t**self.power
        return np.expm1(raised) if self.exponential else raised

    def steepness(self, t: Array) -> Array:
        """Φ'(t) t."""
        raised = t**self.power
        return self.power * raised * (np.exp(raised) if self.exponential else 1.0)

    def inverse(self, v: Array) -> Array:
        """The t with Φ(t) = v."""
        return np.asarray((np.log1p(v) if self.exponential else v) ** (1.0 / self.power))

    def ground(self, cost: Ground, k: float) -> Ground:
        """Φ(c / k) of a cost, but for the factor k^−power of a power."""
        rate = k**-self.power if self.exponential else 0.0
        return replace(cost, outer=cost.outer * self.power, rate=rate)

    def factor(self, k: float) -> float:
        """What makes `ground` Φ(c / k); inf where it is no number."""
        if self.exponential:
            return 1.0
        with np.errstate(over="ignore"):
            return float(np.float64(k) ** -self.power)

    def at(self, gaps: Array, k: float) -> Array:
        """Φ(r / k); at k = 0, which is the norm of gaps of 0, these cost nothing and others all."""
        if k == 0.0:
            return np.where(gaps > 0, np.inf, 0.0)
        with np.errstate(over="ignore"):
            return self.of(gaps / k)

    def norm(self, gaps: Array, masses: Array) -> float:
        """The k with Σ w Φ(r / k) = 1, 0 where all gaps are: the Luxemburg norm.

        Newton's method in 1 / k from a point above the root falls towards it, since Φ is convex.
        """
        kept = (gaps > 0) & (masses > 0)
        r, w = gaps[kept], masses[kept]
        if not len(r):
            return 0.0
        largest = float(r.max())
        r = r / largest
        s = float((self.inverse(1.0 / w) / r).min())
        for _ in range(STEPS):
            t = s * r
            step = (float(w @ self.of(t)) - 1.0) * s / float(w @ self.steepness(t))
            s -= step
            if abs(step) <= SETTLED * s:
                break
        return largest / s


NAMED = {
    "exp": Growth(1.0, exponential=True),
    "exp2": Growth(2.0, exponential=True),
}
ALIASES = {"subexponential": "exp", "subgaussian": "exp2"}


def parse_growth(text: str) -> str:
    """The name of a Φ, or say which there are."""
    text = ALIASES.get(text, text)
    if text in NAMED:
        return text
    name, colon, number = text.partition(":")
    if name == "power" and colon:
        try:
            power = float(number)
        except ValueError:
            power = math.nan
        if 1 <= power < math.inf:
            return f"power:{power:g}"
        raise SettingError(f"--orlicz {text}: expected power:P with a number P, at least 1")
    names = ("power:P", *NAMED, *ALIASES)
    raise SettingError(
        f"--orlicz {text}: expected one of {', '.join(names)}{suggestion(text, names)}"
    )


def growth_of(name: str) -> Growth:
    """The Φ of a name that `parse_growth` let pass."""
    return NAMED.get(name) or Growth(float(name.partition(":")[2]))
