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


def dv_loss(rows, signs, masses, weights, ridge):
    """Negative Donsker-Varadhan bound of a linear critic with its ridge; masses sum to 1/2 a sample."""
    of_p, of_q = 0.0, 0.0
    for row, sign, mass in zip(rows, signs, masses, strict=True):
        score = sum(w * r for w, r in zip(weights, row, strict=True))
        if sign > 0:
            of_p += 2 * mass * score
        else:
            of_q += 2 * mass * math.exp(score)
    return math.log(of_q) - of_p + 0.5 * ridge * sum(w * w for w in weights)


def ulsif(x, y, a, b, folds_x, folds_y, centres, widths, ridges):
    """Held-out ratios of both samples by uLSIF with Gaussian kernels, every number by itself."""
    folds = sorted(set(folds_x) | set(folds_y))
    tried = {}
    for width in widths:
        of_x = [[_gaussian(row, centre, width) for centre in centres] for row in x]
        of_y = [[_gaussian(row, centre, width) for centre in centres] for row in y]
        for ridge in ridges:
            made = {}
            for fold in folds:
                w = _ulsif_weights(of_x, of_y, a, b, folds_x, folds_y, fold, ridge)
                for side, rows, of in (("x", of_x, folds_x), ("y", of_y, folds_y)):
                    for i, row in enumerate(rows):
                        if of[i] == fold:
                            made[side, i] = sum(v * r for v, r in zip(w, row, strict=True))
            tried[width, ridge] = made
    ratios_x, ratios_y = [0.0] * len(x), [0.0] * len(y)
    for fold in folds:
        losses = {}
        for key, made in tried.items():
            loss = -sum(a[i] * made["x", i] for i in range(len(x)) if folds_x[i] != fold)
            loss += sum(b[j] * made["y", j] ** 2 / 2 for j in range(len(y)) if folds_y[j] != fold)
            losses[key] = loss
        best = tried[min(losses, key=losses.get)]
        for i in range(len(x)):
            if folds_x[i] == fold:
                ratios_x[i] = best["x", i]
        for j in range(len(y)):
            if folds_y[j] == fold:
                ratios_y[j] = best["y", j]
    return ratios_x, ratios_y


def _gaussian(row, centre, width):
    return math.exp(-(math.dist(row, centre) ** 2) / (2 * width**2))


def _ulsif_weights(of_x, of_y, a, b, folds_x, folds_y, fold, ridge):
    """(H + ridge I) w = h from the rows of the other folds, by Gaussian elimination."""
    size = len(of_x[0])
    p = [i for i in range(len(of_x)) if folds_x[i] != fold]
    q = [j for j in range(len(of_y)) if folds_y[j] != fold]
    mass_p, mass_q = sum(a[i] for i in p), sum(b[j] for j in q)
    table = []
    for s in range(size):
        row = [sum(b[j] * of_y[j][s] * of_y[j][t] for j in q) / mass_q for t in range(size)]
        row[s] += ridge
        table.append([*row, sum(a[i] * of_x[i][s] for i in p) / mass_p])
    for s in range(size):  # positive definite: no pivots are needed
        for t in range(s + 1, size):
            factor = table[t][s] / table[s][s]
            table[t] = [u - factor * v for u, v in zip(table[t], table[s], strict=True)]
    w = [0.0] * size
    for s in reversed(range(size)):
        rest = sum(table[s][t] * w[t] for t in range(s + 1, size))
        w[s] = (table[s][size] - rest) / table[s][s]
    return w


def infonce(scores_p, scores_q, a, folds_p, folds_q):
    """Multi-sample bound with the rows of Q in the same fold as negatives, all of equal weight."""
    total = 0.0
    for t, mass, fold in zip(scores_p, a, folds_p, strict=True):
        others = [s for s, own in zip(scores_q, folds_q, strict=True) if own == fold]
        mean = (math.exp(t) + sum(math.exp(s) for s in others)) / (len(others) + 1)
        total += mass * (t - math.log(mean))
    return total
