"""What a biased estimate would be with any number of rows, from parts of the rows that there are."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from divmatch.estimator import Estimate, Estimator
from divmatch.intervals import normal_quantile
from divmatch.kernels.execution import one_blas_thread
from divmatch.randomness import stream
from divmatch.record import Interval, Result
from divmatch.samples import Samples

PARTS, REPEATS = 8, 8
LEAST = 8  # rows of a part


def parts_bias(
    estimator: Estimator, x: Samples, y: Samples, settings: Mapping[str, Any], *, seed: int = 0
) -> tuple[float, float]:
    """The bias of the value, c n^(-r), from its growth on g disjoint parts of both samples; its error.

    On parts it is g^r times as large, so that it is (mean over the parts − value) / (g^r − 1). What
    is linear in the rows cancels, because the parts are disjoint. It is the mean over several ways
    of parting, whose spread tells the error. Costs about one more evaluation.
    """
    parts = min(PARTS, x.n // LEAST, y.n // LEAST)
    if estimator.biased is None or parts < 2:
        return 0.0, 0.0
    streams = [stream(seed, "parts", name) for name in ("x", "y")]
    with one_blas_thread(), np.errstate(all="ignore"):
        whole = estimator(x, y, **settings).value
        found = []
        for _ in range(REPEATS):
            orders = [rng.permutation(one.n) for rng, one in zip(streams, (x, y), strict=True)]
            both = zip(*(np.array_split(order, parts) for order in orders), strict=True)
            values = [estimator(x.take(i), y.take(j), **settings).value for i, j in both]
            found.append((sum(values) / parts - whole) / (parts**estimator.biased - 1))
    return float(np.mean(found)), float(np.std(found, ddof=1)) / math.sqrt(REPEATS)


def widened(result: Result, se: float) -> Result:
    """The result with one more independent error in its standard error and its interval."""
    if result.se is None or result.ci is None:
        return result
    ci, centre = result.ci, (result.ci.low + result.ci.high) / 2
    half = math.hypot(ci.high - centre, normal_quantile(0.5 + ci.level / 2) * se)
    ci = replace(ci, low=centre - half, high=centre + half)
    return replace(result, se=math.hypot(result.se, se), ci=ci)


def extrapolated_result(result: Result, bias: float) -> Result:
    """The value and, where the bias had not moved it, the interval without the bias."""
    known = result.bias is not None
    ci = result.ci
    if ci is not None and not known:
        ci = Interval(ci.level, ci.low - bias, ci.high - bias, ci.method, ci.resamples)
    return replace(
        result,
        value=result.value - bias,
        ci=ci,
        bias={"estimate": bias, "corrected": "value"},
    )


def extrapolated_estimate(estimate: Estimate, bias: float) -> Estimate:
    """The same for what comparisons use."""
    return replace(estimate, value=estimate.value - bias, bias=0.0)
