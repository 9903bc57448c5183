"""Pairs of distributions on the line, with every true number between them."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import erfcx

from tests.truths import gaussian


@dataclass(frozen=True)
class Gaussian:
    """N(mean, sd²)."""

    mean: float
    sd: float

    def draw(self, rng, n):
        return rng.normal(self.mean, self.sd, (n, 1))

    def density(self, t):
        z = (t - self.mean) / self.sd
        return math.exp(-0.5 * z * z) / (self.sd * math.sqrt(2 * math.pi))

    support = (-math.inf, math.inf)

    def kl(self, other):
        gap, ratio = self.mean - other.mean, self.sd / other.sd
        return 0.5 * (ratio**2 + (gap / other.sd) ** 2 - 1) - math.log(ratio)

    def mean_distance(self, other):
        return gaussian.mean_abs_power(self.mean - other.mean, self.sd**2 + other.sd**2, 1.0)

    def mean_kernel(self, other, s):
        gap = np.array([self.mean - other.mean])
        return gaussian.mean_kernel(gap, np.array([[self.sd**2 + other.sd**2]]), s)


@dataclass(frozen=True)
class Exponential:
    """Exponential distribution with this mean; X − Y has a two-sided exponential density."""

    mean: float

    def draw(self, rng, n):
        return rng.exponential(self.mean, (n, 1))

    def density(self, t):
        return math.exp(-t / self.mean) / self.mean if t >= 0 else 0.0

    support = (0.0, math.inf)

    def kl(self, other):
        ratio = self.mean / other.mean
        return ratio - 1 - math.log(ratio)

    def mean_distance(self, other):
        return (self.mean**2 + other.mean**2) / (self.mean + other.mean)

    def mean_kernel(self, other, s):
        def tail(mean):
            return s * math.sqrt(math.pi / 2) * float(erfcx(s / (mean * math.sqrt(2))))

        return (tail(self.mean) + tail(other.mean)) / (self.mean + other.mean)


@dataclass(frozen=True)
class Uniform:
    """U(low, high); means over pairs are second differences of a second antiderivative."""

    low: float
    high: float

    def draw(self, rng, n):
        return rng.uniform(self.low, self.high, (n, 1))

    def density(self, t):
        return 1 / (self.high - self.low) if self.low <= t <= self.high else 0.0

    @property
    def support(self):
        return (self.low, self.high)

    def kl(self, other):
        if self.low < other.low or self.high > other.high:
            return math.inf
        return math.log((other.high - other.low) / (self.high - self.low))

    def _mean(self, other, twice):
        outer = twice(self.high - other.low) + twice(self.low - other.high)
        inner = twice(self.high - other.high) + twice(self.low - other.low)
        return (outer - inner) / ((self.high - self.low) * (other.high - other.low))

    def mean_distance(self, other):
        return self._mean(other, lambda u: abs(u) ** 3 / 6)

    def mean_kernel(self, other, s):
        def twice(u):
            root = s * math.sqrt(math.pi / 2)
            return u * root * math.erf(u / (s * math.sqrt(2))) + s * s * math.exp(
                -0.5 * (u / s) ** 2
            )

        return self._mean(other, twice)


@dataclass(frozen=True)
class Pair:
    """P and Q with their divergences."""

    name: str
    p: Gaussian | Exponential | Uniform
    q: Gaussian | Exponential | Uniform

    def draw(self, rng, n, m):
        return self.p.draw(rng, n), self.q.draw(rng, m)

    @property
    def kl(self):
        return self.p.kl(self.q)

    @property
    def energy(self):
        between = self.p.mean_distance(self.q)
        return 2 * between - self.p.mean_distance(self.p) - self.q.mean_distance(self.q)

    def mmd2(self, s):
        between = self.p.mean_kernel(self.q, s)
        return self.p.mean_kernel(self.p, s) + self.q.mean_kernel(self.q, s) - 2 * between


GAUSSIANS = Pair("gaussian", Gaussian(0.0, 1.0), Gaussian(1.0, 2.0))
SHIFTED = Pair("shifted", Gaussian(0.0, 1.0), Gaussian(1.0, 1.0))
EXPONENTIALS = Pair("exponential", Exponential(1.0), Exponential(2.0))
UNIFORMS = Pair("uniform", Uniform(1.0, 2.0), Uniform(0.0, 4.0))
PAIRS = (GAUSSIANS, EXPONENTIALS, UNIFORMS)
