"""Energy distance in plain loops."""

from tests.reference.pairs import contrast, euclidean


def energy(x, y, a=None, b=None, *, power=1.0, unbiased=True):
    """2 E|X − Y|^p − E|X − X'|^p − E|Y − Y'|^p."""
    return contrast(x, y, a, b, lambda s, t: euclidean(s, t) ** power, unbiased)
