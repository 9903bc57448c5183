"""Critics and bounds in plain loops."""

import math


def logistic_loss(rows, signs, masses, weights, ridge):
    """Ridge logistic loss, one row after the other."""
    total = 0.5 * ridge * sum(w * w for w in weights)
    for row, sign, mass in zip(rows, signs, masses, strict=True):
        score = sum(w * r for w, r in zip(weights, row, strict=True))
        total += mass * math.log1p(math.exp(-sign * score))
    return total


def dv(scores_p, scores_q, a, b):
    """Donsker-Varadhan bound of given scores."""
    mean = sum(w * math.exp(t) for w, t in zip(b, scores_q, strict=True))
    return sum(w * t for w, t in zip(a, scores_p, strict=True)) - math.log(mean)


def nwj(scores_p, scores_q, a, b):
    """Bound of Nguyen, Wainwright and Jordan of given scores."""
    mean = sum(w * math.exp(t) for w, t in zip(b, scores_q, strict=True))
    return 1.0 + sum(w * t for w, t in zip(a, scores_p, strict=True)) - mean


def smile(scores_p, scores_q, a, b, tau):
    """SMILE of given scores."""
    return dv(scores_p, [max(-tau, min(tau, t)) for t in scores_q], [*a], b)


def renyi(scores_p, scores_q, a, b, alpha):
    """Rényi-Donsker-Varadhan bound of given scores."""
    of_p = sum(w * math.exp((alpha - 1) * t) for w, t in zip(a, scores_p, strict=True))
    of_q = sum(w * math.exp(alpha * t) for w, t in zip(b, scores_q, strict=True))
    return alpha / (alpha - 1) * math.log(of_p) - math.log(of_q)


def js(scores_p, scores_q, a, b):
    """Ln 2 less the logistic loss of given scores."""
    of_p = sum(w * math.log1p(math.exp(-t)) for w, t in zip(a, scores_p, strict=True))
    of_q = sum(w * math.log1p(math.exp(t)) for w, t in zip(b, scores_q, strict=True))
    return math.log(2) - 0.5 * (of_p + of_q)


def lipschitz_dual(x, y, p, q, potentials, conjugate, slope):
    """Σ p min (L |x − y| + h) − Σ q f*(h) for given potentials h."""
    total = 0.0
    for row, mass in zip(x, p, strict=True):
        total += mass * min(
            slope * math.dist(row, other) + h for other, h in zip(y, potentials, strict=True)
        )
    return total - sum(mass * conjugate(h) for mass, h in zip(q, potentials, strict=True))
