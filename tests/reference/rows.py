"""Row-wise divergences in plain loops, as the papers write them; imports nothing of divmatch."""

import math


def softmax(z, temperature=1.0):
    top = max(z)
    masses = [math.exp((value - top) / temperature) for value in z]
    return [mass / sum(masses) for mass in masses]


def kl(p, q):
    total = 0.0
    for a, b in zip(p, q, strict=True):
        if a > 0:
            total += a * math.log(a / b) if b > 0 else math.inf
    return total


def skewed(p, q, a):
    m = [a * x + (1 - a) * y for x, y in zip(p, q, strict=True)]
    return a * kl(p, m) + (1 - a) * kl(q, m)


def akl(p, q, share=0.5):
    order = sorted(range(len(p)), key=lambda j: (-p[j], j))
    held, head = 0.0, 0.0
    for place, j in enumerate(order):
        held += p[j]
        if place == 0 or held <= share + 1e-12:
            head += abs(p[j] - q[j])
    gap = sum(abs(a - b) for a, b in zip(p, q, strict=True))
    if gap == 0:
        return 0.0
    return head / gap * kl(p, q) + (gap - head) / gap * kl(q, p)


def entropy(p):
    return -sum(a * math.log(a) for a in p if a > 0)


def balanced(p, q):
    a, b = (2, 1) if entropy(q) > entropy(p) else (1, 2)
    return a * kl(p, q) + b * kl(q, p)


def clipped(p, q, a, clip=5.0):
    """D_a of AlphaNet: a = 1 is not clipped, a = 0 clips the ratio."""
    if a == 1:
        return kl(p, q)
    total = 0.0
    for x, y in zip(p, q, strict=True):
        if y > 0:
            ratio = x / y
            if a == 0:
                total -= y * math.log(min(ratio, clip))
            else:
                power = ratio**a if ratio > 0 or a > 0 else math.inf
                total += y * (min(power, clip) - 1) / (a * (a - 1))
    return total


def renyi(p, q, a):
    if a == math.inf:
        return max(math.log(x / y) for x, y in zip(p, q, strict=True) if x > 0)
    return math.log(sum(x**a * y ** (1 - a) for x, y in zip(p, q, strict=True) if x > 0)) / (a - 1)


def sinkd(p, q, eps=0.1, rounds=20):
    cost = [[sum(abs(a - b) for a, b in zip(s, t, strict=True)) for t in p] for s in q]
    plan = [[math.exp(-c / eps) for c in row] for row in cost]
    for _ in range(rounds):
        plan = [[k / sum(row) for k in row] for row in plan]
        columns = [sum(row[j] for row in plan) for j in range(len(p))]
        plan = [[k / columns[j] for j, k in enumerate(row)] for row in plan]
    return sum(
        k * c for ks, cs in zip(plan, cost, strict=True) for k, c in zip(ks, cs, strict=True)
    )


def best_of_n(base, n):
    """KL and win rate; outputs in ascending order of reward."""
    below, divergence, wins = 0.0, 0.0, 0.0
    for mass in base:
        upto = below + mass
        chosen = upto**n - below**n
        divergence += chosen * math.log(chosen / mass) if chosen > 0 else 0.0
        wins += chosen * (upto - mass / 2)
        below = upto
    return divergence, wins


def of_logits(kind, z, w):
    """A power divergence of softmax(z) and softmax(w), in decimal numbers of any size."""
    from decimal import Decimal, localcontext

    name, _, number = kind.partition(":")
    order = {"chi2": 2.0, "neyman": -1.0}.get(name) or float(number)
    with localcontext() as context:
        context.prec, context.Emax, context.Emin = 60, 10**6, -(10**6)
        p, q = ([Decimal(0) if math.isinf(v) else Decimal(v).exp() for v in row] for row in (z, w))
        p, q = ([mass / sum(row) for mass in row] for row in (p, q))
        a, both = Decimal(order), [(s, t) for s, t in zip(p, q, strict=True) if s and t]
        total = sum(s**a * t ** (1 - a) for s, t in both)
        only_p = any(s and not t for s, t in zip(p, q, strict=True))
        only_q = any(t and not s for s, t in zip(p, q, strict=True))
        if (order > 1 and only_p) or (order < 0 and only_q):
            return math.inf
        if name == "renyi":
            return float(total.ln() / (a - 1))
        f_divergence = (total - 1) / (a * (a - 1))
        return float(f_divergence * (2 if name in ("chi2", "neyman") else 1))
