"""Objectives of flows over all pairs of rows, in plain loops."""

import math


def distance(x, y):
    return math.sqrt(sum((p - q) ** 2 for p, q in zip(x, y, strict=True)))


def mean(f, x, y, a, b):
    """Σᵢⱼ aᵢ bⱼ f(|xᵢ − yⱼ|)."""
    return sum(
        p * q * f(distance(one, other))
        for one, p in zip(x, a, strict=True)
        for other, q in zip(y, b, strict=True)
    )


def half_energy(x, y, a, b):
    """E|X − Y| − E|X − X'| / 2 − E|Y − Y'| / 2."""
    return half_discrepancy(lambda r: -r, x, y, a, b)


def half_discrepancy(f, x, y, a, b):
    """½ MMD² of the kernel f(|x − y|)."""
    return 0.5 * mean(f, x, x, a, a) + 0.5 * mean(f, y, y, b, b) - mean(f, x, y, a, b)


KERNELS = {
    "gaussian": lambda r, s: math.exp(-r * r / (2 * s * s)),
    "imq": lambda r, s: 1 / math.sqrt(s * s + r * r),
    "rq": lambda r, s: 1 / (1 + r * r / (2 * s * s)),
    "distance": lambda r, s: r,
}


def w2_on_line(x, y, a, b):
    """W₂² of weighted numbers: masses go from left to right."""
    left, right = sorted(zip(x, a, strict=True)), sorted(zip(y, b, strict=True))
    total, i, j = 0.0, 0, 0
    (p, s), (q, t) = left[0], right[0]
    while True:
        moved = min(s, t)
        total += moved * (p - q) ** 2
        s, t = s - moved, t - moved
        if s <= 1e-15:
            i += 1
            if i == len(left):
                return total
            p, s = left[i]
        if t <= 1e-15:
            j += 1
            if j == len(right):
                return total
            q, t = right[j]


def slopes(objective, x, step=1e-5):
    """Derivatives of a function of rows, by central differences."""
    made = []
    for i in range(len(x)):
        row = []
        for c in range(len(x[0])):
            ends = []
            for sign in (1, -1):
                moved = [list(r) for r in x]
                moved[i][c] += sign * step
                ends.append(objective(moved))
            row.append((ends[0] - ends[1]) / (2 * step))
        made.append(row)
    return made
