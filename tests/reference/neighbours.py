"""Nearest neighbours in plain loops."""

import math


def distance(x, y):
    """|x − y|, four columns a term as the kernels add them."""
    squares = [(a - b) * (a - b) for a, b in zip(x, y, strict=True)]
    whole = len(squares) - len(squares) % 4
    total = 0.0
    for c in range(0, whole, 4):
        total += (squares[c] + squares[c + 1]) + (squares[c + 2] + squares[c + 3])
    for c in range(whole, len(squares)):
        total += squares[c]
    return math.sqrt(total)


def nearest(points, queries, k, exclude_self=False):
    """Distances and rows of the k nearest, as two lists of lists, ordered by (distance, row)."""
    distances, rows = [], []
    for i, query in enumerate(queries):
        pairs = []
        for j, point in enumerate(points):
            if not (exclude_self and i == j):
                pairs.append((distance(query, point), j))
        pairs.sort()
        distances.append([pair[0] for pair in pairs[:k]])
        rows.append([pair[1] for pair in pairs[:k]])
    return distances, rows


def count_within(points, queries, radius, exclude_self=False):
    """How many points are within the radius of each query."""
    counts = []
    for i, query in enumerate(queries):
        count = 0
        for j, point in enumerate(points):
            if not (exclude_self and i == j) and distance(query, point) <= radius[i]:
                count += 1
        counts.append(count)
    return counts
