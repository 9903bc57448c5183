"""Closed forms between Gaussians, and problems drawn together with their answers."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, hyp1f1, ndtr


def kl(m1, s1, m2, s2):
    """½ [tr(S₂⁻¹S₁) + Δ'S₂⁻¹Δ − d + ln(|S₂| / |S₁|)]."""
    gap = m2 - m1
    inverse = np.linalg.inv(s2)
    log_ratio = np.linalg.slogdet(s2)[1] - np.linalg.slogdet(s1)[1]
    return 0.5 * (np.trace(inverse @ s1) + gap @ inverse @ gap - len(gap) + log_ratio)


def mean_kernel(mean, cov, s):
    """E exp(−|Z|² / (2s²)), Z ~ N(mean, cov)."""
    d = len(mean)
    spread = cov + s * s * np.eye(d)
    form = mean @ np.linalg.solve(spread, mean)
    return s**d * np.linalg.det(spread) ** -0.5 * math.exp(-0.5 * form)


def mmd2(m1, s1, m2, s2, s):
    """Squared MMD with the Gaussian kernel of bandwidth s."""
    zero = np.zeros(len(m1))
    within = mean_kernel(zero, 2 * s1, s) + mean_kernel(zero, 2 * s2, s)
    return within - 2 * mean_kernel(m1 - m2, s1 + s2, s)


def root(matrix):
    """The symmetric square root."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def entropic(m1, s1, m2, s2, eps):
    """min E|x − y|² + eps KL(π | P ⊗ Q). Janati, Muzellec, Peyré & Cuturi 2020, σ² = eps / 2."""
    half, d, gap = eps / 2, len(m1), m1 - m2
    r = root(s1)
    middle = root(4 * r @ s2 @ r + half**2 * np.eye(d))
    value = gap @ gap + np.trace(s1) + np.trace(s2) - np.trace(middle)
    value += d * half * (1 - math.log(2 * half))
    return float(value + half * np.linalg.slogdet(middle + half * np.eye(d))[1])


def sinkhorn(m1, s1, m2, s2, eps):
    """The Sinkhorn divergence, debiased."""
    own = entropic(m1, s1, m1, s1, eps) + entropic(m2, s2, m2, s2, eps)
    return entropic(m1, s1, m2, s2, eps) - own / 2


def mean_norm(gap2, variance, d):
    """E|Z|, Z ~ N(Δ, variance · I_d), gap2 = |Δ|²."""
    ratio = math.exp(gammaln((d + 1) / 2) - gammaln(d / 2))
    return math.sqrt(2 * variance) * ratio * float(hyp1f1(-0.5, d / 2, -gap2 / (2 * variance)))


def energy(gap2, v1, v2, d):
    """Energy distance of N(0, v1 · I) and N(Δ, v2 · I)."""
    between = mean_norm(gap2, v1 + v2, d)
    return 2 * between - mean_norm(0.0, 2 * v1, d) - mean_norm(0.0, 2 * v2, d)


def mean_abs_power(mean, variance, p):
    """E|Z|^p, Z ~ N(mean, variance)."""
    scale = (2 * variance) ** (p / 2) * math.gamma((p + 1) / 2) / math.sqrt(math.pi)
    return scale * float(hyp1f1(-p / 2, 0.5, -mean * mean / (2 * variance)))


def energy_power(mean, v1, v2, p):
    """Generalised energy distance of N(0, v1) and N(mean, v2)."""
    between = mean_abs_power(mean, v1 + v2, p)
    return 2 * between - mean_abs_power(0.0, 2 * v1, p) - mean_abs_power(0.0, 2 * v2, p)


def mean_laplace(mean, variance):
    """E exp(−|Z|), Z ~ N(mean, variance)."""
    sd = math.sqrt(variance)
    left = math.exp(variance / 2 - mean) * ndtr((mean - variance) / sd)
    right = math.exp(variance / 2 + mean) * ndtr((-mean - variance) / sd)
    return float(left + right)


def mmd2_laplace(mean, v1, v2, s):
    """Squared MMD of N(0, v1) and N(mean, v2) with the kernel exp(−|x − y| / s)."""
    v1, v2, mean = v1 / s**2, v2 / s**2, mean / s
    within = mean_laplace(0.0, 2 * v1) + mean_laplace(0.0, 2 * v2)
    return within - 2 * mean_laplace(mean, v1 + v2)


@dataclass(frozen=True)
class Problem:
    """Two Gaussians that can be drawn from."""

    m1: np.ndarray
    s1: np.ndarray
    m2: np.ndarray
    s2: np.ndarray

    def draw(self, rng, n, m):
        """Rows of P and of Q."""
        first, second = np.linalg.cholesky(self.s1), np.linalg.cholesky(self.s2)
        d = len(self.m1)
        return (
            self.m1 + rng.normal(size=(n, d)) @ first.T,
            self.m2 + rng.normal(size=(m, d)) @ second.T,
        )

    @property
    def kl(self):
        return kl(self.m1, self.s1, self.m2, self.s2)

    def mmd2(self, s):
        return mmd2(self.m1, self.s1, self.m2, self.s2, s)


def problem(rng, d):
    """A random pair of Gaussians, moderately apart, with condition numbers of about ten."""

    def covariance():
        root = rng.normal(size=(d, d)) / math.sqrt(d)
        return root @ root.T + 0.5 * np.eye(d)

    return Problem(rng.normal(size=d) / 2, covariance(), rng.normal(size=d) / 2, covariance())
