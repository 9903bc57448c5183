"""Samples of columns that hang together, of words, and with a region that holds more of Q."""

from dataclasses import replace

import numpy as np

from divmatch.samples import as_samples
from divmatch.scaling import HALF

INSIDE = 0.16 * 0.4  # of P in the region a > 1 and b = 1, or nearly


def correlated(rng, n, r, shift=(0.0, 0.0, 0.0)):
    """Three normal columns, the first two with correlation r."""
    z = rng.normal(size=(n, 3))
    z[:, 1] = r * z[:, 0] + np.sqrt(1 - r * r) * z[:, 1]
    return z + np.array(shift)


def with_words(numbers, words, name="device"):
    """Samples of a column of numbers and one of words, as the command line makes them."""
    every = sorted(set(words))
    marks = HALF * np.array([[word == other for other in every] for word in words])
    samples = as_samples(np.column_stack([numbers, marks]), "x")
    origin = {"layout": (None, 1, 1), "categories": ((name, len(every)),)}
    labels = ("amount", *(f"{name}={word}" for word in every))
    return replace(samples, columns=labels, origin=origin)


def planted(rng, n, ratio=3.0):
    """Three columns; a > 1 and b = 1 holds ``ratio`` times as much of Q as of P."""
    made = []
    for mass in (INSIDE, ratio * INSIDE):
        drawn = rng.normal(size=(4 * n, 3))
        drawn[:, 1] = rng.random(4 * n) < 0.4
        outside = drawn[~region(drawn)]
        inside = np.column_stack([1 + rng.random(n), np.ones(n), rng.normal(size=n)])
        made.append(np.where(rng.random(n)[:, None] < mass, inside, outside[:n]))
    return made


def region(points):
    return (points[:, 0] > 1) & (points[:, 1] == 1)


def held(text, points):
    """Which rows a rule names, from its words alone."""
    kept = np.ones(len(points), dtype=bool)
    for part in text.split(" and "):
        words = part.split()
        if len(words) == 5:  # 0.2 < a <= 0.7
            kept &= points[:, int(words[2])] > float(words[0])
        line = points[:, int(words[-3])]
        kept &= line > float(words[-1]) if words[-2] == ">" else line <= float(words[-1])
    return kept
