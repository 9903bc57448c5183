"""Neural-network divergence in plain loops: slope of a critic, its values on held-out rows."""

import math


def steepest(points, scores):
    """Largest |T(a) − T(b)| / |a − b|."""
    largest = 0.0
    for a, t in zip(points, scores, strict=True):
        for b, s in zip(points, scores, strict=True):
            apart = math.dist(a, b)
            if apart > 0:
                largest = max(largest, abs(t - s) / apart)
    return largest


def logistic(of_p, of_q):
    """Bound of the Jensen-Shannon divergence: ln 2 + ½ [mean ln s(T(X)) + mean ln s(−T(Y))]."""
    left = sum(math.log(1 / (1 + math.exp(-t))) for t in of_p) / len(of_p)
    right = sum(math.log(1 / (1 + math.exp(t))) for t in of_q) / len(of_q)
    return math.log(2) + 0.5 * (left + right)


def thresholds(x, y):
    """2 sup over t of |F(t) − G(t)|."""
    shares = [
        abs(sum(v <= t for v in x) / len(x) - sum(v <= t for v in y) / len(y)) for t in [*x, *y]
    ]
    return 2 * max(shares)
