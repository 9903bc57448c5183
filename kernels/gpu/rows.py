"""Array-module twin of `divmatch.kernels.cpu.rows`: CuPy on a GPU, NumPy for small inputs."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from divmatch.kernels.gpu.pairwise import array_module

AT_ONCE = 1 << 16  # numbers of a block: its buffers stay in the cache
AT_ONCE_ON_DEVICE = 1 << 24
ROUNDING = 1e-12
LN2 = math.log(2.0)
LOWEST = -700.0  # logits so far below the largest have probability 0
FAR = -650.0  # log masses below which a mass is 0, or ratios leave the range of numbers


def row_sums(
    p: Any,
    q: Any,
    codes: Any,
    numbers: Any,
    limits: Any,
    keep: Any,
    source: str,
    scale: float,
    tolerance: float,
) -> tuple[Any, Any]:
    """See `divmatch.kernels.rows`."""
    xp = array_module(p)
    sums, wrong = xp.zeros((len(p), 2 + len(codes))), xp.zeros(len(p), dtype=np.int8)
    size = max(1, (AT_ONCE if xp is np else AT_ONCE_ON_DEVICE) // p.shape[1])
    rows = np.flatnonzero(keep)
    with np.errstate(all="ignore"):
        for start in range(0, len(rows), size):
            here = rows[start : start + size]
            block = _Block(xp, p[here], q[here], source, scale, tolerance)
            wrong[here] = xp.where(block.sound_p, xp.where(block.sound_q, 0, 2), 1)
            good = block.sound_p & block.sound_q
            sums[here, 0] = xp.where(good, block.only_p, 0.0)
            sums[here, 1] = xp.where(good, block.only_q, 0.0)
            for t, (code, a, limit) in enumerate(zip(codes, numbers, limits, strict=True)):
                value = _TERMS[code](block, float(a), float(limit))
                sums[here, 2 + t] = xp.where(good, value, 0.0)
    return sums, wrong


class _Block:
    """Distributions of some rows, their log-ratios (0 without a partner) and what is unmatched."""

    def __init__(
        self, xp: Any, p: Any, q: Any, source: str, scale: float, tolerance: float
    ) -> None:
        self.xp = xp
        p, q = p.astype(np.float64), q.astype(np.float64)
        self.log_p = self.log_q = self.far = None  # known of logits alone
        if source == "logits":
            self.p, log_p, self.sound_p = softmax(xp, p, scale)
            self.q, log_q, self.sound_q = softmax(xp, q, scale)
            both = xp.isfinite(log_p) & xp.isfinite(log_q)
            far = both & (xp.minimum(log_p, log_q) < FAR)
            if far.any():
                self.log_p, self.log_q, self.far = log_p, log_q, far
            self.l = xp.where(both, log_p - log_q, 0.0)
        else:
            self.p, self.sound_p = shares(xp, p, source, tolerance)
            self.q, self.sound_q = shares(xp, q, source, tolerance)
            both = (self.p > 0) & (self.q > 0)
            self.l = xp.where(both, _log_ratio(xp, self.p, self.q), 0.0)
        self.only_p = xp.where(both, 0.0, self.p).sum(axis=1)
        self.only_q = xp.where(both, 0.0, self.q).sum(axis=1)

    @property
    def step(self) -> Any:
        """P − q where both may be."""
        return self.xp.where(self.l == 0, 0.0, self.p - self.q)


def shares(xp: Any, rows: Any, source: str, tolerance: float) -> tuple[Any, Any]:
    """Rows of masses divided by their sums, and which of them may be."""
    totals = rows.sum(axis=1)
    sound = ~(rows < 0).any(axis=1)
    if source == "counts":
        sound &= (totals > 0) & xp.isfinite(totals)
    else:
        sound &= xp.abs(totals - 1.0) <= tolerance
    return rows / totals[:, None], sound


def softmax(xp: Any, rows: Any, scale: float) -> tuple[Any, Any, Any]:
    """Softmax of rows, its logarithm, and which rows have one."""
    top = rows.max(axis=1)
    logs = (rows - top[:, None]) * scale
    masses = xp.where(logs > LOWEST, xp.exp(logs), 0.0)
    totals = masses.sum(axis=1)
    return (
        masses / totals[:, None],
        logs - xp.log(totals)[:, None],
        xp.isfinite(top) & xp.isfinite(totals),
    )


def _log_ratio(xp: Any, a: Any, b: Any) -> Any:
    """Ln a − ln b: all digits near 0, and no overflow between tiny masses."""
    excess = (a - b) / b
    ratio = a / b
    far = xp.where((ratio > 1e-300) & (ratio < 1e300), xp.log(ratio), xp.log(a) - xp.log(b))
    return xp.where(xp.abs(excess) < 0.5, xp.log1p(excess), far)


# --------------------------------------------------------------------------------------- terms


def _forward(b: _Block, a: float, limit: float) -> Any:
    return (b.p * b.l - b.step).sum(axis=1)


def _backward(b: _Block, a: float, limit: float) -> Any:
    return (b.step - b.q * b.l).sum(axis=1)


def _gap(b: _Block, a: float, limit: float) -> Any:
    return b.xp.abs(b.p - b.q).sum(axis=1)


def _root(b: _Block, a: float, limit: float) -> Any:
    return ((b.xp.sqrt(b.p) - b.xp.sqrt(b.q)) ** 2).sum(axis=1)


def _chi2(b: _Block, a: float, limit: float) -> Any:
    step = b.p - b.q
    near = b.xp.where(step == 0, 0.0, step * b.xp.expm1(b.l)).sum(axis=1)
    return _where_far(b, lambda: 2.0 * _power(b, 2.0, limit), near)


def _neyman(b: _Block, a: float, limit: float) -> Any:
    step = b.q - b.p
    near = b.xp.where(step == 0, 0.0, step * b.xp.expm1(-b.l)).sum(axis=1)
    return _where_far(b, lambda: 2.0 * _power(b, -1.0, limit), near)


def _where_far(b: _Block, other: Callable[[], Any], near: Any) -> Any:
    """The other sum in rows where a class counts although its mass is too small for a number."""
    return near if b.far is None else b.xp.where(b.far.any(axis=1), other(), near)


def _le_cam(b: _Block, a: float, limit: float) -> Any:
    both = b.p + b.q
    return ((b.p - b.q) ** 2 / b.xp.where(both > 0, both, 1.0)).sum(axis=1)


def _skew(b: _Block, a: float, limit: float) -> Any:
    xp = b.xp
    m = a * b.p + (1.0 - a) * b.q
    m = xp.where(m > 1e-300, m, 1.0)
    step = (b.p - b.q) / m  # of second order where the rows are near: no digits may be lost

    def part(mass: Any, excess: Any) -> Any:
        logs = xp.where(xp.abs(excess) < 0.5, xp.log1p(excess), xp.log(mass / m))
        return xp.where(mass > 0, mass * logs, 0.0)

    left, right = part(b.p, (1.0 - a) * step), part(b.q, -a * step)
    return (a * left + (1.0 - a) * right).sum(axis=1)


def _softened(b: _Block, a: float, limit: float) -> Any:
    log_m = b.xp.where(b.l > -600, b.xp.log1p(0.5 * b.xp.expm1(-b.l)), -b.l - LN2)
    return b.xp.where(b.l == 0, 0.0, (b.p + b.q) * log_m + b.step).sum(axis=1)


def _power(b: _Block, a: float, limit: float) -> Any:
    xp = b.xp
    if a < 0.5:
        grown = xp.where(b.q == 0, 0.0, b.q * xp.expm1(a * b.l) / a)
        terms = (grown - b.step) / (a - 1.0)
    else:
        grown = xp.where(b.p == 0, 0.0, b.p * xp.expm1((a - 1.0) * b.l) / (a - 1.0))
        terms = (grown - b.step) / a
    if b.far is not None:  # q r^a from logarithms
        far = b.far | (b.far.any(axis=1)[:, None] & (xp.abs(a * b.l) > -FAR))
        logs = xp.where(far, b.log_q + a * b.l, 0.0)
        whole = (xp.exp(logs) - b.q - a * b.step) / (a * (a - 1.0))
        terms = xp.where(far & (b.l != 0), whole, terms)
    return terms.sum(axis=1)


def _renyi(b: _Block, a: float, limit: float) -> Any:
    xp, c = b.xp, a - 1.0
    excess = a * c * _power(b, a, limit) + c * b.only_q - a * b.only_p
    both = (b.p > 0) & (b.q > 0)
    distant = _log_sum(xp, xp.where(both, c * b.l, -np.inf), b.p) / c
    if b.far is not None:
        known = xp.isfinite(b.log_p) & xp.isfinite(b.log_q)
        logs = xp.where(known, b.log_p + c * b.l, -np.inf)
        rows = b.far.any(axis=1)
        distant = xp.where(rows, _log_sum(xp, logs, xp.ones_like(b.p)) / c, distant)
        both = xp.where(rows[:, None], known, both)
    apart = np.inf if a < 1 else 0.0
    distant = xp.where(both.any(axis=1), distant, apart)
    return xp.where(xp.abs(excess) < 0.5, xp.log1p(excess) / c, distant)


def _log_sum(xp: Any, logs: Any, masses: Any) -> Any:
    """Ln of the sum of mass times e^log; -inf leaves a class out."""
    top = logs.max(axis=1)
    level = xp.where(xp.isfinite(top), top, 0.0)
    parts = xp.where(logs > -np.inf, masses * xp.exp(logs - level[:, None]), 0.0)
    return xp.log(parts.sum(axis=1)) + level


def _maximum(b: _Block, a: float, limit: float) -> Any:
    return b.xp.maximum(b.l.max(axis=1), 0.0)


def _clipped(b: _Block, a: float, limit: float) -> Any:
    if a == 0:
        return -(b.q * b.xp.minimum(b.l, math.log(limit))).sum(axis=1)
    grown = b.xp.minimum(b.xp.expm1(a * b.l), limit - 1.0)
    return (b.q * grown).sum(axis=1) / (a * (a - 1.0))


def _head(b: _Block, a: float, limit: float) -> Any:
    xp = b.xp
    order = xp.argsort(-b.p, axis=1, kind="stable")
    held = xp.cumsum(xp.take_along_axis(b.p, order, axis=1), axis=1)
    inside = held <= a + ROUNDING
    inside[:, 0] = True
    gaps = xp.take_along_axis(xp.abs(b.p - b.q), order, axis=1)
    return xp.where(inside, gaps, 0.0).sum(axis=1)


def _entropy_p(b: _Block, a: float, limit: float) -> Any:
    return -b.xp.where(b.p > 0, b.p * b.xp.log(b.p), 0.0).sum(axis=1)


def _entropy_q(b: _Block, a: float, limit: float) -> Any:
    return -b.xp.where(b.q > 0, b.q * b.xp.log(b.q), 0.0).sum(axis=1)


_TERMS = (  # in the order of `divmatch.kernels.rows.CODES`
    _forward,
    _backward,
    _gap,
    _root,
    _chi2,
    _neyman,
    _le_cam,
    _skew,
    _softened,
    _power,
    _renyi,
    _maximum,
    _clipped,
    _head,
    _entropy_p,
    _entropy_q,
)
