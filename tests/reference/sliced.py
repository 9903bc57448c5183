"""Sliced Wasserstein distance in plain loops."""


def transport(x, y, a, b, p):
    """W_p^p of two weighted lists of numbers: the smallest rest of each moves to the other."""
    left = sorted(([value, weight] for value, weight in zip(x, a, strict=True)), reverse=True)
    right = sorted(([value, weight] for value, weight in zip(y, b, strict=True)), reverse=True)
    total = 0.0
    while left and right:
        mass = min(left[-1][1], right[-1][1])
        total += mass * abs(left[-1][0] - right[-1][0]) ** p
        for side in (left, right):
            side[-1][1] -= mass
            if side[-1][1] <= 1e-15:
                side.pop()
    return total


def sliced(x, y, a, b, p, directions):
    """(mean over directions of W_p^p between projections)^(1/p)."""
    total = 0.0
    for direction in directions:
        across = [sum(t * v for t, v in zip(direction, row, strict=True)) for row in x]
        down = [sum(t * v for t, v in zip(direction, row, strict=True)) for row in y]
        total += transport(across, down, a, b, p)
    return (total / len(directions)) ** (1 / p)
