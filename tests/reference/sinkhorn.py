"""Entropic transport by Sinkhorn's iteration in the log domain, in plain loops."""

import math


def log_sum(values):
    top = max(values)
    return top + math.log(sum(math.exp(v - top) for v in values))


def entropic(cost, a, b, eps, rho=math.inf, sweeps=3000):
    """(value, ⟨P, C⟩, mass) of min ⟨P, C⟩ + eps KL(P | ab) + ρ KL(P1 | a) + ρ KL(P'1 | b)."""
    n, m = len(a), len(b)
    plan = entropic_plan(cost, a, b, eps, rho, sweeps)
    moved = sum(plan[i][j] * cost[i][j] for i in range(n) for j in range(m))
    product = [a[i] * b[j] for i in range(n) for j in range(m)]
    value = moved + eps * kl([p for row in plan for p in row], product)
    if not math.isinf(rho):
        value += rho * kl([sum(row) for row in plan], a)
        value += rho * kl([sum(plan[i][j] for i in range(n)) for j in range(m)], b)
    return value, moved, sum(map(sum, plan))


def entropic_plan(cost, a, b, eps, rho=math.inf, sweeps=3000):
    """The plan P itself, as rows of numbers."""
    n, m = len(a), len(b)
    tau = 1.0 if math.isinf(rho) else rho / (rho + eps)
    f, g = [0.0] * n, [0.0] * m
    for _ in range(sweeps):
        f = [
            -tau * eps * log_sum([math.log(b[j]) + (g[j] - cost[i][j]) / eps for j in range(m)])
            for i in range(n)
        ]
        g = [
            -tau * eps * log_sum([math.log(a[i]) + (f[i] - cost[i][j]) / eps for i in range(n)])
            for j in range(m)
        ]
    return [
        [a[i] * b[j] * math.exp((f[i] + g[j] - cost[i][j]) / eps) for j in range(m)]
        for i in range(n)
    ]


def kl(p, q):
    """Σ p ln(p / q) − p + q."""
    return sum((s * math.log(s / t) if s > 0 else 0.0) - s + t for s, t in zip(p, q, strict=True))
