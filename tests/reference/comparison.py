"""Differences with a shared reference, Holm's p-values and letters in plain loops."""

import math


def difference_se(terms_a, terms_b, paired=False):
    """Standard error of two plain means from the terms of (reference, rows), equal weights."""
    shared = [p - q for p, q in zip(terms_a[0], terms_b[0], strict=True)]
    if paired:
        own = [[p - q for p, q in zip(terms_a[1], terms_b[1], strict=True)]]
    else:
        own = [terms_a[1], terms_b[1]]
    variance = 0.0
    for terms in (shared, *own):
        mean = sum(terms) / len(terms)
        variance += sum((t - mean) ** 2 for t in terms) / (len(terms) - 1) / len(terms)
    return math.sqrt(variance)


def exchanged_p(statistic, a, b, paired=False):
    """Share of all exchanges of rows whose |statistic| is as large as the observed one."""
    from itertools import combinations, product

    observed = abs(statistic(a, b))
    if paired:
        found = [
            abs(
                statistic(
                    [q if s else p for p, q, s in zip(a, b, swap, strict=True)],
                    [p if s else q for p, q, s in zip(a, b, swap, strict=True)],
                )
            )
            for swap in product([False, True], repeat=len(a))
        ]
    else:
        pool = [*a, *b]
        found = []
        for chosen in combinations(range(len(pool)), len(a)):
            rest = [pool[i] for i in range(len(pool)) if i not in chosen]
            found.append(abs(statistic([pool[i] for i in chosen], rest)))
    return sum(value >= observed - 1e-12 for value in found) / len(found)


def holm(p_values):
    """Step down: the smallest times N, the next times N - 1, never decreasing."""
    left = list(range(len(p_values)))
    made = [0.0] * len(p_values)
    bar = 0.0
    while left:
        i = min(left, key=lambda k: p_values[k])
        bar = max(bar, min(1.0, len(left) * p_values[i]))
        made[i] = bar
        left.remove(i)
    return made


def share_a_letter(words, i, j):
    """Whether two strings of letters have one in common."""
    return any(letter in words[j] for letter in words[i])
