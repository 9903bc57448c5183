"""Designs and sequential Monte Carlo in plain loops."""

import math
from itertools import product


def all_labels(units, strata, observed):
    """Every labelling of rows that gives whole units one label and keeps the count of each stratum."""
    found = []
    for chosen in product([False, True], repeat=len(strata)):
        counts = {}
        for stratum, new, old in zip(strata, chosen, observed, strict=True):
            counts[stratum] = counts.get(stratum, 0) + new - old
        if not any(counts.values()):
            found.append(tuple(chosen[unit] for unit in units))
    return found


def grouped_variance(shares, groups):
    """G / (G − 1) times the sum of squares of the sums of each group's shares."""
    sums = {}
    for share, group in zip(shares, groups, strict=True):
        sums[group] = sums.get(group, 0.0) + share
    return len(sums) / (len(sums) - 1) * sum(value * value for value in sums.values())


def error(count, draws):
    """Standard deviation of a beta law with parameters count + 1 and draws − count + 1."""
    a, b = count + 1, draws - count + 1
    return math.sqrt(a * b / ((a + b) ** 2 * (a + b + 1)))


def stopped(draws, precision):
    """After how many draws the error is at most the precision."""
    count = 0
    for number, large in enumerate(draws, 1):
        count += large
        if error(count, number) <= precision:
            return number
    return None


def ends(draws, precision):
    """Every end (draws, count) of the rule with its probability, from an urn: lowest p-values first."""
    going, low, high = {0: 1.0}, [], []
    for b in range(1, draws + 1):
        new = {}
        for count, mass in going.items():
            new[count + 1] = new.get(count + 1, 0.0) + mass * (count + 1) / (b + 1)
            new[count] = new.get(count, 0.0) + mass * (b - count) / (b + 1)
        going = {}
        for count in sorted(new):
            if error(count, b) > precision and b < draws:
                going[count] = new[count]
            elif 2 * count <= b or b == draws:
                low.append(((b, count), new[count]))
            else:
                high.append(((b, -count), new[count]))
    return low + [((b, -count), mass) for (b, count), mass in sorted(high, reverse=True)]


def sequential_p_value(count, draws, precision):
    """The mass of all ends up to this one."""
    total = 0.0
    for end, mass in ends(draws, precision):
        total += mass
        if end == (draws, count):
            return total
    raise ValueError("the rule does not end there")
