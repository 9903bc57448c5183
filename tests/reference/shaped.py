"""Numbers of embeddings, classes, margins and tails, in plain loops."""

import math

import numpy as np


def neighbours(rows, k, metric):
    """The k nearest other rows of each, from all distances."""
    rows = np.asarray(rows, dtype=float)
    if metric == "cosine":
        rows = np.array([row / math.sqrt(sum(row * row)) for row in rows])
    made = []
    for i, row in enumerate(rows):
        others = [(math.dist(row, other), j) for j, other in enumerate(rows) if j != i]
        made.append([j for _, j in sorted(others)[:k]])
    return made


def mutual_knn(a, b, k, metric="cosine"):
    """Mean share of neighbours in common."""
    lists = zip(neighbours(a, k, metric), neighbours(b, k, metric), strict=True)
    return float(np.mean([len(set(one) & set(other)) / k for one, other in lists]))


def cycle_knn(a, b, k, metric="cosine"):
    """Share of rows that a neighbour in b has among its neighbours in a."""
    one, other = neighbours(a, k, metric), neighbours(b, k, metric)
    return float(np.mean([any(i in one[j] for j in other[i]) for i in range(len(one))]))


def kernel(rows, metric):
    rows = np.asarray(rows, dtype=float)
    rows = (
        rows / np.linalg.norm(rows, axis=1, keepdims=True)
        if metric == "cosine"
        else rows - rows.mean(axis=0)
    )
    return rows @ rows.T


def hsic_biased(left, right):
    n = len(left)
    centring = np.eye(n) - 1 / n
    return float(np.trace(left @ centring @ right @ centring)) / n**2


def hsic_unbiased(left, right):
    n, ones = len(left), np.ones(len(left))
    left, right = left - np.diag(np.diag(left)), right - np.diag(np.diag(right))
    total = np.trace(left @ right)
    total += (ones @ left @ ones) * (ones @ right @ ones) / ((n - 1) * (n - 2))
    total -= 2 / (n - 2) * (ones @ left @ right @ ones)
    return float(total / (n * (n - 3)))


def cka(a, b, metric="cosine", hsic=hsic_biased):
    left, right = kernel(a, metric), kernel(b, metric)
    return hsic(left, right) / math.sqrt(hsic(left, left) * hsic(right, right))


def cknna(a, b, k, metric="cosine"):
    left, right = kernel(a, metric), kernel(b, metric)
    masks = []
    for rows in (a, b):
        mask = np.zeros(left.shape)
        for i, near in enumerate(neighbours(rows, k, metric)):
            mask[i, near] = 1
        masks.append(mask)
    both = masks[0] * masks[1]
    size = hsic_unbiased(masks[0] * left, masks[0] * left) * hsic_unbiased(
        masks[1] * right, masks[1] * right
    )
    return hsic_unbiased(both * left, both * right) / math.sqrt(size)


def prototypes(rows, labels, others=None, *, plain=False):
    """Mean log ratio, own prototypes without the row itself."""
    rows, labels = np.asarray(rows, dtype=float), np.asarray(labels)
    found = []
    for i, row in enumerate(rows):
        mates = [j for j in range(len(rows)) if labels[j] == labels[i] and (plain or j != i)]
        if not mates:
            continue
        if others is None:
            rivals = [rows[labels == c].mean(axis=0) for c in set(labels) - {labels[i]}]
        else:
            rivals = others
        own = math.dist(row, rows[mates].mean(axis=0))
        found.append(math.log(min(math.dist(row, one) for one in rivals) / own))
    return float(np.mean(found))


def klom(x, y, bins, *, corrected=False):
    """KL of shared histograms for every column."""
    found = []
    for one, other in zip(np.clip(x, -100, 100).T, np.clip(y, -100, 100).T, strict=True):
        edges = np.linspace(min(one.min(), other.min()), max(one.max(), other.max()), bins + 1)
        p = np.histogram(one, edges)[0] / len(one)
        q = np.histogram(other, edges)[0] / len(other)
        total = sum(a * math.log(a / max(b, 1e-5)) for a, b in zip(p, q, strict=True) if a > 0)
        if corrected:
            total -= (np.count_nonzero(p) - 1) / (2 * len(one))
            total -= sum(a * (1 - b) / b for a, b in zip(p, q, strict=True) if b > 0) / (
                2 * len(other)
            )
        found.append(total)
    return found


def klom_knn(x, y, k):
    found = []
    for one, other in zip(x.T, y.T, strict=True):
        total = 0.0
        for i, v in enumerate(one):
            own = sorted(abs(v - w) for j, w in enumerate(one) if j != i)[k - 1]
            total += math.log(sorted(abs(v - w) for w in other)[k - 1] / own)
        found.append(total / len(one) + math.log(len(other) / (len(one) - 1)))
    return found


def density_gap_1d(means, sds):
    """KL of a mixture in one column to N(0, 1), on a grid."""
    z = np.linspace(-30, 30, 600_001)
    q = np.zeros_like(z)
    for mean, sd in zip(means, sds, strict=True):
        q += np.exp(-0.5 * ((z - mean) / sd) ** 2) / (sd * math.sqrt(2 * math.pi)) / len(means)
    prior = -0.5 * z**2 - 0.5 * math.log(2 * math.pi)
    logs = np.log(np.maximum(q, 1e-300))
    return float(np.sum(q * (logs - prior)) * (z[1] - z[0]))


def tail_slope(values, levels, gaussian):
    """Least squares of ln quantile on ln Gaussian quantile, quantiles between the middles of ranks."""
    a = np.sort(np.abs(values - np.mean(values)))
    q = np.quantile(a, 1 - np.asarray(levels), method="hazen")
    return float(np.polyfit(np.log(gaussian), np.log(q), 1)[0])
