"""Domains with an edge, and the maps that take it away."""

import numpy as np

from divmatch.matcher import Array


def spread(domain: str | None, n: int, d: int, rng: "np.random.Generator") -> Array:
    """First particles, all over the domain: standard normal where it has no edge."""
    return rng.standard_normal((n, d))
