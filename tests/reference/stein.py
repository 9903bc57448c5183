"""Kernel Stein discrepancy in plain loops; derivatives of the kernel by central differences."""

import math

STEP = 1e-4


def kernel(name, s):
    if name == "gaussian":
        return lambda x, y: math.exp(-_square(x, y) / (2 * s * s))
    return lambda x, y: (s * s + _square(x, y)) ** -0.5


def _square(x, y):
    return sum((a - b) ** 2 for a, b in zip(x, y, strict=True))


def moved(x, c, step):
    return [value + (step if k == c else 0.0) for k, value in enumerate(x)]


def stein(k, x, y, sx, sy, h=STEP):
    """s(x)·s(y) k + s(x)·∇_y k + s(y)·∇_x k + tr ∇_x ∇_y k."""
    total = sum(a * b for a, b in zip(sx, sy, strict=True)) * k(x, y)
    for c in range(len(x)):
        total += sx[c] * (k(x, moved(y, c, h)) - k(x, moved(y, c, -h))) / (2 * h)
        total += sy[c] * (k(moved(x, c, h), y) - k(moved(x, c, -h), y)) / (2 * h)
        total += (
            k(moved(x, c, h), moved(y, c, h))
            - k(moved(x, c, h), moved(y, c, -h))
            - k(moved(x, c, -h), moved(y, c, h))
            + k(moved(x, c, -h), moved(y, c, -h))
        ) / (4 * h * h)
    return total


def ksd(points, scores, name, s, weights, unbiased):
    """The weighted mean of h over all pairs, or over those of different rows."""
    k, total, mass = kernel(name, s), 0.0, 0.0
    for i, (x, sx) in enumerate(zip(points, scores, strict=True)):
        for j, (y, sy) in enumerate(zip(points, scores, strict=True)):
            if unbiased and i == j:
                continue
            total += weights[i] * weights[j] * stein(k, x, y, sx, sy)
            mass += weights[i] * weights[j]
    return total / mass
