"""Directions of Stein variational methods, and their step rules, in plain loops."""

import math

import numpy as np


def kernel(name, x, y, s):
    """k and its gradient by x."""
    gap = [p - q for p, q in zip(x, y, strict=True)]
    r2 = sum(g * g for g in gap)
    if name == "gaussian":
        k = math.exp(-r2 / (2 * s * s))
        return k, [-g * k / (s * s) for g in gap]
    k = 1 / math.sqrt(s * s + r2)
    return k, [-g * k**3 for g in gap]


def svgd(name, x, scores, a, s):
    """Σⱼ aⱼ [k(xⱼ, xᵢ) sⱼ + ∇k(xⱼ, xᵢ) by xⱼ]."""
    made = []
    for point in x:
        total = [0.0] * len(point)
        for other, score, mass in zip(x, scores, a, strict=True):
            k, slope = kernel(name, other, point, s)
            for c in range(len(point)):
                total[c] += mass * (k * score[c] + slope[c])
        made.append(total)
    return made


def coins(start, ways):
    """One number that bets on its directions: where it stands after each."""
    x = start
    largest, total, absolute, reward, path = 1e-10, 0.0, 0.0, 0.0, []
    for way in ways:
        largest = max(largest, abs(way))
        total += way
        absolute += abs(way)
        reward = max(reward + (x - start) * way, 0.0)
        x = start + total / (largest * (absolute + largest)) * (largest + reward)
        path.append(x)
    return path


def mirrored(x, scores, inverse, a, s, rows):
    """SVGD of free rows with the gaussian kernel of θ: its gradient goes through (∇²ψ)⁻¹."""
    made = []
    for point in rows:
        total = np.zeros(len(point))
        for k in range(len(rows)):
            value, slope = kernel("gaussian", rows[k], point, s)
            total += a[k] * (value * scores[k] + inverse[k] @ np.array(slope))
        made.append(total)
    return np.array(made)


def mirror_descent(scores, inverse, hessian, values, functions, slopes):
    """SVMD with Γᵢⱼ as matrices and bⱼ as vectors."""
    n, count = functions.shape
    made = np.zeros((n, inverse.shape[1]))
    for j in range(count):
        b = sum(
            math.sqrt(values[j]) * (functions[m, j] * scores[m] + inverse[m] @ slopes[m, j])
            for m in range(n)
        )
        for i in range(count):
            metric = sum(functions[m, i] * functions[m, j] * hessian[m] for m in range(n)) / n
            push = math.sqrt(values[i]) * metric @ (b / n)
            for m in range(n):
                made[m] += functions[m, i] * push
    return made
