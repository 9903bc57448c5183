"""Sliced energy distance: the energy distance of any number of columns from those of projections."""

import math

import numpy as np

from divmatch.estimator import Array, Estimate, Labels, Pooled
from divmatch.kernels.directions import Directions
from divmatch.kernels.execution import in_order
from divmatch.kernels.line import distance_forms, distance_sums
from divmatch.kernels.slicings import LINEAR
from divmatch.samples import Samples


def constant(d: int) -> float:
    """C with |x| = c E |θ·x| for θ uniform on the sphere: π^(1/2) Γ((d + 1)/2) / Γ(d/2)."""
    return math.sqrt(math.pi) * math.exp(math.lgamma((d + 1) / 2) - math.lgamma(d / 2))


def estimate(x: Samples, y: Samples, drawn: Directions) -> Estimate:
    """The V-statistic and its bias: what the pairs of a row with itself lack, 1/n of E|X − X'|."""
    a, b, centre, factor = x.masses(), y.masses(), LINEAR.centre(x.points), constant(x.d)

    def one(vector: Array) -> tuple[Array, Array, Array]:
        p, q = (LINEAR.numbers(s.points, centre, vector[None])[0] for s in (x, y))
        across, down = distance_sums(p, q, b), distance_sums(q, p, a)
        own_x, own_y = distance_sums(p, p, a), distance_sums(q, q, b)
        means = np.array([a @ across, a @ own_x, b @ own_y])
        return means, 2.0 * (across - own_x), 2.0 * (down - own_y)

    means, terms_x, terms_y = [], np.zeros(x.n), np.zeros(y.n)
    work = 60.0 * (x.n + y.n) * len(drawn.vectors)
    each = in_order(one, drawn.vectors, work=work)
    for share, (part, of_x, of_y) in zip(factor * drawn.weights, each, strict=True):
        means.append(factor * part)
        terms_x += share * of_x
        terms_y += share * of_y
    found = np.array(means)
    costs = found @ [2.0, -1.0, -1.0]
    _, own_x, own_y = drawn.weights @ found
    squares = float(a @ a), float(b @ b)
    bias = sum(own * s / (1.0 - s) for own, s in zip((own_x, own_y), squares, strict=True) if s < 1)
    return Estimate(
        max(drawn.mean(costs), 0.0),  # rounding alone makes it negative
        terms_x=terms_x,
        terms_y=terms_y,
        error=drawn.error(costs) if x.d > 1 else None,
        bias=float(bias),
        params={"projections": len(costs), "convention": "2 E|X-Y| - E|X-X'| - E|Y-Y'|"},
        exact=x.d == 1,
    )


def plan(pool: Samples, drawn: Directions) -> Pooled:
    """The V-statistic of every split: a product with the cumulative labels of each sorted line."""
    weights, centre, factor = pool.masses(), LINEAR.centre(pool.points), constant(pool.d)
    reach = 0.0

    def statistic(labels: Labels) -> Array:
        nonlocal reach
        marked = labels * weights[:, None]
        rest = weights[:, None] - marked
        signed = marked / marked.sum(axis=0) - rest / rest.sum(axis=0)

        def one(vector: Array) -> tuple[Array, float]:
            line = LINEAR.numbers(pool.points, centre, vector[None])[0]
            return -distance_forms(line, signed), float(np.ptp(line))

        total = np.zeros(labels.shape[1])
        each = in_order(one, drawn.vectors, work=float(labels.size) * len(drawn.vectors))
        for share, (part, extent) in zip(drawn.weights, each, strict=True):
            total += share * part
            reach = max(reach, extent)
        return factor * total

    return Pooled(statistic, lambda: 64 * 2.0**-52 * pool.n**0.5 * factor * reach)
