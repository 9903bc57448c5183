"""The bias of entropic transport between samples, from halves of the samples."""

import math
from dataclasses import replace

import numpy as np

from divmatch.transport.problem import Regularised, Support, Term, between, within

FEWEST = 8  # rows of a sample that can be halved
ROUGH = 1e-4  # marginal error of the halves: the value's error is of the order of its square
WARM = 0.02  # eps as a share of the mean cost, from which potentials hardly depend on single rows


def combined(terms: list[Term]) -> float:
    """OT(P, Q), less half of OT(P, P) and OT(Q, Q) where they are there."""
    return terms[0].value - 0.5 * sum(term.value for term in terms[1:])


def bias_of(p: Support, q: Support, of: Regularised, terms: list[Term], mean: float) -> float:
    """What the value of samples of these sizes is expected to be above that of the distributions.

    Two by two, halves of the samples are farther apart than the whole by the growth of the bias;
    what is linear in the samples cancels. The bias falls like 1/n for large eps, which makes it equal
    to that growth, and more slowly for small ones. So for the divergence the bias of the halves is
    measured too: both halves of one sample are samples of one distribution, whose divergence is 0.
    """
    if min(len(p.weights), len(q.weights)) < FEWEST or not math.isfinite(terms[0].value):
        return 0.0
    rough = replace(of, effort=replace(of.effort, tol=max(of.effort.tol, ROUGH)))
    warm = of.eps >= WARM * mean
    halves = [(p.half(first), q.half(first)) for first in (0, 1)]
    crosses = [
        between(x, y, rough, mean, terms[0].half(first) if warm else None).value
        for first, (x, y) in enumerate(halves)
    ]
    if len(terms) == 1:
        return 0.5 * sum(crosses) - terms[0].value
    own, null = 0.0, 0.0
    for sample, term in enumerate(terms[1:]):
        near = [term.half(first) for first in (0, 1)]
        even, odd = (pair[sample] for pair in halves)
        alone = [within(z, rough, t.f).value for z, t in zip((even, odd), near, strict=True)]
        start = replace(term, f=near[0].f, g=near[1].g) if warm else None
        own += 0.25 * sum(alone)
        null += 0.5 * (between(even, odd, rough, mean, start).value - 0.5 * sum(alone))
    growth = 0.5 * sum(crosses) - own - combined(terms)
    return float(np.clip(null - growth, max(growth, 0.0), max(null, 0.0)))
