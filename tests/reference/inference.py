"""Permutation p-values and standard errors in plain loops."""

import math
from itertools import combinations


def p_value(observed, permuted, slack=0.0):
    """(1 + #{T_b >= T}) / (B + 1); values within the rounding ``slack`` count as equal."""
    return (1 + sum(value >= observed - slack for value in permuted)) / (len(permuted) + 1)


def all_values(statistic, rows, n):
    """The statistic of every split of the rows into n and the rest; rows are numbered."""
    numbers = range(len(rows))
    for chosen in combinations(numbers, n):
        rest = [i for i in numbers if i not in chosen]
        yield statistic([rows[i] for i in chosen], [rows[i] for i in rest])


def influence_variance(terms, weights):
    """Σ aᵢ² (ψᵢ − ψ̄)² / (1 − Σ aᵢ²)."""
    mean = sum(w * t for w, t in zip(weights, terms, strict=True))
    squares = sum((w * (t - mean)) ** 2 for w, t in zip(weights, terms, strict=True))
    return squares / (1 - sum(w * w for w in weights))


def mean_error(rows):
    """s / √n of plain numbers."""
    mean = sum(rows) / len(rows)
    variance = sum((row - mean) ** 2 for row in rows) / (len(rows) - 1)
    return math.sqrt(variance / len(rows))


def standard_deviation(values):
    """Square root of the sum of squared deviations over the count less one."""
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
