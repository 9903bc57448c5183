"""Sums over the classes of a row, from its masses and log-ratios: the terms of `divmatch.kernels.rows`."""

import math

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.cpu.elementary import growth, logarithm
from divmatch.kernels.cpu.jit import compiled, inlined

Array = NDArray[np.float64]

LN2 = math.log(2.0)
ROUNDING = 1e-12  # masses that add up to a bound but for rounding keep it
BUCKETS, FINENESS = 1041, np.uint64(48)  # 16 to an octave, from 2⁻⁶⁴ to 1
FAR = (
    -650.0
)  # log masses so far below the largest: the mass is 0, or ratios leave the range of numbers
LOWEST = np.int64((1023 - 64) << 4)


@compiled
def all_terms(
    p: Array,
    q: Array,
    l: Array,  # noqa: E741
    codes: NDArray[np.int64],
    numbers: Array,
    limits: Array,
    sums: Array,
) -> None:
    """Every sum that was asked for; the order of the codes is that of `divmatch.kernels.rows`."""
    for t in range(codes.shape[0]):
        code, a = codes[t], numbers[t]
        if code == 0:
            value = forward(p, q, l)
        elif code == 1:
            value = backward(p, q, l)
        elif code == 2:
            value = gap(p, q)
        elif code == 3:
            value = root(p, q)
        elif code == 4:
            value = quotient(p, q, l, 1.0)
        elif code == 5:
            value = quotient(p, q, l, -1.0)
        elif code == 6:
            value = le_cam(p, q)
        elif code == 7:
            value = skew(p, q, a)
        elif code == 8:
            value = softened(p, q, l)
        elif code == 9:
            value = power(p, q, l, a)
        elif code == 10:
            value = renyi(p, q, l, a, sums[0], sums[1])
        elif code == 11:
            value = maximum(l)
        elif code == 12:
            value = clipped(q, l, a, limits[t])
        elif code == 13:
            value = head(p, q, a)
        else:
            value = entropy(p if code == 14 else q)
        sums[2 + t] = value


@compiled
def forward(p: Array, q: Array, l: Array) -> float:  # noqa: E741
    """Sum kl."""
    total = 0.0
    for j in range(p.shape[0]):
        total += p[j] * l[j] - (0.0 if l[j] == 0.0 else p[j] - q[j])
    return total


@compiled
def backward(p: Array, q: Array, l: Array) -> float:  # noqa: E741
    """Sum reverse-kl."""
    total = 0.0
    for j in range(p.shape[0]):
        total += (0.0 if l[j] == 0.0 else p[j] - q[j]) - q[j] * l[j]
    return total


@compiled
def gap(p: Array, q: Array) -> float:
    """Sum gap."""
    total = 0.0
    for j in range(p.shape[0]):
        total += abs(p[j] - q[j])
    return total


@compiled
def root(p: Array, q: Array) -> float:
    """Sum root."""
    total = 0.0
    for j in range(p.shape[0]):
        step = math.sqrt(p[j]) - math.sqrt(q[j])
        total += step * step
    return total


@compiled
def quotient(p: Array, q: Array, l: Array, sign: float) -> float:  # noqa: E741
    """Sum chi2 (sign 1) or neyman (sign −1)."""
    total = 0.0
    for j in range(p.shape[0]):
        step = sign * (p[j] - q[j])
        total += 0.0 if step == 0.0 else step * growth(sign * l[j])
    return total


@compiled
def le_cam(p: Array, q: Array) -> float:
    """Sum le-cam."""
    total = 0.0
    for j in range(p.shape[0]):
        step, both = p[j] - q[j], p[j] + q[j]
        total += step * step / (both if both > 0.0 else 1.0)
    return total


@compiled
def skew(p: Array, q: Array, a: float) -> float:
    """Sum skew."""
    total, b = 0.0, 1.0 - a
    for j in range(p.shape[0]):
        m = a * p[j] + b * q[j]
        inverse = 1.0 / (m if m > 1e-300 else 1.0)
        step = (p[j] - q[j]) * inverse
        left = a * p[j] * logarithm(p[j] * inverse, b * step)
        right = b * q[j] * logarithm(q[j] * inverse, -a * step)
        total += left + right
    return total


@compiled
def softened(p: Array, q: Array, l: Array) -> float:  # noqa: E741
    """Sum softened."""
    total = 0.0
    for j in range(p.shape[0]):
        half = 0.5 * growth(-l[j])
        log_m = logarithm(1.0 + half, half)
        log_m = log_m if l[j] > -600.0 else -l[j] - LN2
        total += 0.0 if l[j] == 0.0 else (p[j] + q[j]) * log_m + (p[j] - q[j])
    return total


@compiled
def power(p: Array, q: Array, l: Array, a: float) -> float:  # noqa: E741
    """Sum power, from the side on which nothing cancels."""
    total, b = 0.0, a - 1.0
    if a < 0.5:
        for j in range(p.shape[0]):
            grown = 0.0 if q[j] == 0.0 else q[j] * growth(a * l[j]) / a
            total += (grown - (0.0 if l[j] == 0.0 else p[j] - q[j])) / b
        return total
    for j in range(p.shape[0]):
        grown = 0.0 if p[j] == 0.0 else p[j] * growth(b * l[j]) / b
        total += (grown - (0.0 if l[j] == 0.0 else p[j] - q[j])) / a
    return total


@compiled
def renyi(p: Array, q: Array, l: Array, a: float, only_p: float, only_q: float) -> float:  # noqa: E741
    """Sum renyi: near 0 from the power, elsewhere on the log scale, where nothing overflows."""
    b = a - 1.0
    excess = a * b * power(p, q, l, a) + b * only_q - a * only_p
    if abs(excess) < 0.5:
        return math.log1p(excess) / b
    top = -np.inf
    for j in range(p.shape[0]):
        x = b * l[j] if p[j] > 0.0 and q[j] > 0.0 else -np.inf
        top = x if x > top else top
    if top == -np.inf:
        return np.inf if a < 1.0 else 0.0
    total = 0.0
    for j in range(p.shape[0]):
        if p[j] > 0.0 and q[j] > 0.0:
            total += p[j] * math.exp(b * l[j] - top)
    return (math.log(total) + top) / b


@compiled
def far_terms(
    p: Array,
    q: Array,
    l: Array,  # noqa: E741
    log_p: Array,
    log_q: Array,
    codes: NDArray[np.int64],
    numbers: Array,
    sums: Array,
) -> None:
    """The sums in which a class counts although its mass is too small for a number, once more."""
    for t in range(codes.shape[0]):
        code, a = codes[t], numbers[t]
        if code == 4:
            sums[2 + t] = 2.0 * far_power(p, q, l, log_p, log_q, 2.0)
        elif code == 5:
            sums[2 + t] = 2.0 * far_power(p, q, l, log_p, log_q, -1.0)
        elif code == 9:
            sums[2 + t] = far_power(p, q, l, log_p, log_q, a)
        elif code == 10:
            sums[2 + t] = far_renyi(p, q, l, log_p, log_q, a, sums[0], sums[1])


@compiled
def far_power(p: Array, q: Array, l: Array, log_p: Array, log_q: Array, a: float) -> float:  # noqa: E741
    """Sum power; q r^a is exp(ln q + a l) where q or r^a is beyond the range of numbers."""
    total, b = 0.0, a - 1.0
    for j in range(p.shape[0]):
        if l[j] == 0.0:
            continue
        step = p[j] - q[j]
        if min(log_p[j], log_q[j]) < FAR or abs(a * l[j]) > -FAR:
            total += (math.exp(log_q[j] + a * l[j]) - q[j] - a * step) / (a * b)
        elif a < 0.5:
            total += (q[j] * growth(a * l[j]) / a - step) / b
        else:
            total += (p[j] * growth(b * l[j]) / b - step) / a
    return total


@compiled
def far_renyi(
    p: Array,
    q: Array,
    l: Array,  # noqa: E741
    log_p: Array,
    log_q: Array,
    a: float,
    only_p: float,
    only_q: float,
) -> float:
    """Sum renyi from the logarithms of the masses."""
    b = a - 1.0
    excess = a * b * far_power(p, q, l, log_p, log_q, a) + b * only_q - a * only_p
    if abs(excess) < 0.5:
        return math.log1p(excess) / b
    top = -np.inf
    for j in range(p.shape[0]):
        both = log_p[j] > -np.inf and log_q[j] > -np.inf
        x = log_p[j] + b * l[j] if both else -np.inf
        top = x if x > top else top
    if top == -np.inf:
        return np.inf if a < 1.0 else 0.0
    total = 0.0
    for j in range(p.shape[0]):
        if log_p[j] > -np.inf and log_q[j] > -np.inf:
            total += math.exp(log_p[j] + b * l[j] - top)
    return (math.log(total) + top) / b


@compiled
def maximum(l: Array) -> float:  # noqa: E741
    """Sum maximum."""
    top = 0.0
    for j in range(l.shape[0]):
        top = l[j] if l[j] > top else top
    return top


@compiled
def clipped(q: Array, l: Array, a: float, limit: float) -> float:  # noqa: E741
    """Sum clipped."""
    total = 0.0
    if a == 0.0:
        most = math.log(limit)
        for j in range(q.shape[0]):
            total -= q[j] * (l[j] if l[j] < most else most)
        return total
    most = limit - 1.0
    for j in range(q.shape[0]):
        grown = growth(a * l[j])
        total += q[j] * (grown if grown < most else most)
    return total / (a * (a - 1.0))


@compiled
def entropy(p: Array) -> float:
    """Sum entropy."""
    total = 0.0
    for j in range(p.shape[0]):
        mass = p[j]
        total -= mass * logarithm(mass, mass - 1.0)
    return total


@compiled
def head(p: Array, q: Array, share: float) -> float:
    """Sum head; one pass finds the bucket of masses in which the head ends, and only it is sorted.

    The head holds every class whose mass, together with all larger ones, is at most ``share``, and
    the likeliest class in any case. Of equal masses the first class is the larger.
    """
    mass = np.zeros(BUCKETS)
    for j in range(p.shape[0]):
        mass[bucket(p[j])] += p[j]
    held, last = 0.0, BUCKETS - 1
    while last > 0 and held + mass[last] <= share + ROUNDING:
        held += mass[last]
        last -= 1
    above, members = 0.0, 0
    for j in range(p.shape[0]):
        b = bucket(p[j])
        above += abs(p[j] - q[j]) if b > last else 0.0
        members += b == last
    inside = np.empty(members, dtype=np.int64)
    members = 0
    for j in range(p.shape[0]):
        if bucket(p[j]) == last:
            inside[members] = j
            members += 1
    first = held == 0.0
    for k in np.argsort(-p[inside], kind="mergesort"):
        j = inside[k]
        held += p[j]
        if held > share + ROUNDING and not first:
            break
        above += abs(p[j] - q[j])
        first = False
    return above


@inlined
def bucket(mass: float) -> int:
    """Which of the buckets, 16 to an octave, a mass is in."""
    place = np.int64(np.float64(mass).view(np.uint64) >> FINENESS) - LOWEST
    return int(min(max(place, np.int64(0)), np.int64(BUCKETS - 1)))
