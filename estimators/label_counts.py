"""Density ratios from the labels of neighbours: how many rows of P and of Q lie around a row.

Around a point the labels of the neighbours are draws with odds n p / (m q), whatever the data look
like. Functions of the odds have unbiased estimates from the two counts: powers by quotients of
gamma functions, logarithms by differences of digamma functions.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from divmatch.estimators.generators import Generator, generator
from divmatch.estimators.powers import powers_of

Array = NDArray[np.float64]

NEAR_ONE = 0.1  # orders so near to 1 are taken at the rows of P, where I_s - 1 vanishes like s - 1
SMALLEST = 1e-300
LARGEST = 700.0  # logarithms up to which exp is finite


@dataclass(frozen=True, eq=False)
class Counts:
    """Rows in the ball of every row, without itself: of its own sample, and of the other one.

    A row of P counts as aᵢ times the effective size n = 1 / Σ aᵢ² of P: as 1 without weights.
    """

    own_x: Array
    other_x: Array
    own_y: Array
    other_y: Array
    a: Array
    b: Array
    n: float
    m: float

    @property
    def ratio_x(self) -> Array:
        """The ratio p/q at the rows of P, counts moved off zero by one half."""
        return self.m / (self.n - 1.0) * (self.own_x + 0.5) / (self.other_x + 0.5)

    @property
    def ratio_y(self) -> Array:
        """The ratio p/q at the rows of Q, counts moved off zero by one half."""
        return (self.m - 1.0) / self.n * (self.other_y + 0.5) / (self.own_y + 0.5)

    @property
    def plain_y(self) -> Array:
        """(m/n) N / (M + 1) at the rows of Q: unbiased, and finite where no row of Q is near."""
        return self.m / self.n * self.other_y / (self.own_y + 1.0)

    @property
    def swapped(self) -> "Counts":
        """The counts of Q against P."""
        return Counts(
            self.own_y, self.other_y, self.own_x, self.other_x, self.b, self.a, self.m, self.n
        )


def forward_kl(c: Counts) -> float:
    """KL(P || Q) = Σ aᵢ (ψ(Mᵢ + 1) − ψ(Nᵢ + 1)) + ln(m / (n − 1)), at the rows of P."""
    from scipy.special import digamma

    terms = digamma(c.own_x + 1.0) - digamma(c.other_x + 1.0)
    return float(c.a @ terms) + math.log(c.m / (c.n - 1.0))


def backward_kl(c: Counts) -> float:
    """KL(Q || P), the same at the rows of Q."""
    return forward_kl(c.swapped)


def power(c: Counts, s: float) -> tuple[float, float]:
    """Sign and logarithm of I_s = E_Q (p/q)^s: (m/n)^s Σ bⱼ G_s(Nⱼ, Mⱼ), at the rows of Q."""
    if abs(s - 1.0) <= NEAR_ONE:
        sign, log = mean_power(c.a, c.own_x, c.other_x, s - 1.0)
        return sign, log + (s - 1.0) * math.log(c.m / (c.n - 1.0))
    sign, log = mean_power(c.b, c.other_y, c.own_y, s)
    return sign, log + s * math.log(c.m / c.n)


def mean_power(weights: Array, above: Array, below: Array, s: float) -> tuple[float, float]:
    """Sign and log of the mean of Γ(N+1) Γ(M+1) / (Γ(N+1−s) Γ(M+1+s)), N above and M below.

    A pole of the denominator gives 0.
    """
    from scipy.special import gammaln, gammasgn

    logs, signs = gammaln(above + 1.0) + gammaln(below + 1.0), np.ones(len(above))
    for shifted in (above + 1.0 - s, below + 1.0 + s):
        logs -= gammaln(shifted)
        pole = (shifted <= 0) & (shifted == np.round(shifted))
        signs *= np.where(pole, 0.0, gammasgn(np.where(pole, 1.0, shifted)))
    top = float(logs.max())
    if top == -math.inf:
        return 0.0, -math.inf
    total = float(weights @ (signs * np.exp(logs - top)))
    return math.copysign(1.0, total), top + math.log(abs(total)) if total else -math.inf


def finite(c: Counts, g: Generator, floor: float) -> float:
    """D_f for f with finite limits 0 and f∞: Σ bⱼ (f(r) − ½ f''(r) var(r)) + f∞ · unseen mass of P.

    A ratio from k labels misses mass of P around which all labels are P's: E r = 1 − E_P π^k.
    That mass is what rows of P without a row of Q in their balls hold.
    """
    odds = c.other_y / (c.own_y + 1.0)
    ratio = np.maximum(c.plain_y, floor)
    slope = np.maximum(ratio, SMALLEST)
    bend = slope * g.curvature(slope) * c.m / c.n * (1.0 + odds) ** 2
    bias = 0.5 * bend / (c.own_y + c.other_y)
    return float(c.b @ (g.f(ratio) - bias)) + g.at_infinity * unseen_x(c)


def paper(c: Counts, g: Generator, floor: float) -> float:
    """Σ bⱼ f(max(r, floor)) with r = (m/n) N / (M + 1): biased by O(1/k) where f is curved."""
    return float(c.b @ g.f(np.maximum(c.plain_y, floor)))


def unseen_x(c: Counts) -> float:
    """The mass of the rows of P without a row of Q in their balls."""
    return float(c.a @ (c.other_x == 0))


def unseen_y(c: Counts) -> float:
    """The mass of the rows of Q without a row of P in their balls."""
    return float(c.b @ (c.other_y == 0))


def divergence(c: Counts, kind: str, floor: float) -> float:
    """D_f(P || Q) with the unbiased estimates where f has them, else with the leading bias removed."""
    if kind == "softened-rkl":  # 2 KL((P + Q)/2 || P) = KL(Q || P) − the GAN's JS
        return backward_kl(c) - finite(c, generator("js-gan"), floor)
    powers = powers_of(kind)
    if powers is None:
        return finite(c, generator(kind), floor)
    value = powers.constant
    if powers.forward:
        value += powers.forward * forward_kl(c)
    if powers.backward:
        value += powers.backward * backward_kl(c)
    for s, scale in powers.terms:
        sign, log = power(c, s)
        value += scale * sign * (math.exp(log) if log < LARGEST else math.inf)
    return value


def influences(c: Counts, g: Generator) -> tuple[Array, Array]:
    """First-order influences of the rows on D_f: f'(r) at those of P, f(r) − r f'(r) at those of Q."""
    r = c.ratio_y
    return g.slope(c.ratio_x), g.f(r) - r * g.slope(r)


def unseen(c: Counts, at_zero: float, at_infinity: float) -> float:
    """The share of rows whose ratio is out of reach of k labels, where it has no finite price."""
    missed = [0.0]
    if math.isinf(at_infinity):
        missed.append(unseen_x(c))
    if math.isinf(at_zero):
        missed.append(unseen_y(c))
    return max(missed)
