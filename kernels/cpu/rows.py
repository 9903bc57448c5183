"""Compiled twin of `divmatch.kernels.gpu.rows`: one row at a time, its buffers stay in the cache."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.cpu.elementary import exponential, growth, logarithm
from divmatch.kernels.cpu.jit import compiled, inlined

Array = NDArray[np.float64]

LN2 = math.log(2.0)
TINY = 1e-150  # ratios of larger masses neither overflow nor vanish
ROUNDING = 1e-12  # masses that add up to a bound but for rounding keep it
BUCKETS, FINENESS = 1041, np.uint64(48)  # 16 to an octave, from 2⁻⁶⁴ to 1
LOWEST = np.int64((1023 - 64) << 4)


def row_sums(
    p: NDArray[Any],
    q: NDArray[Any],
    codes: NDArray[np.int64],
    numbers: Array,
    limits: Array,
    keep: NDArray[np.bool_],
    source: str,
    scale: float,
    tolerance: float,
) -> tuple[Array, NDArray[np.int8]]:
    """See `divmatch.kernels.rows`."""
    sums = np.zeros((len(p), 2 + len(codes)))
    wrong = np.zeros(len(p), dtype=np.int8)
    if source == "logits":
        of_logits(p, q, codes, numbers, limits, keep, scale, sums, wrong)
    else:
        of_masses(p, q, codes, numbers, limits, keep, tolerance, source == "counts", sums, wrong)
    return sums, wrong


# ------------------------------------------------------------------------------ rows to buffers


@compiled
def examined(raw: NDArray[Any]) -> tuple[float, int, int]:
    """Sum of a row of masses, how many are negative, how many are tiny but not 0."""
    total, negative, tiny = 0.0, 0, 0
    for j in range(raw.shape[0]):
        mass = np.float64(raw[j])
        total += mass
        negative += bool(mass < 0.0)
        tiny += bool((mass > 0.0) & (mass < TINY))
    return total, negative, tiny


@compiled
def fill_masses(
    raw_p: NDArray[Any],
    raw_q: NDArray[Any],
    cp: float,
    cq: float,
    p: Array,
    q: Array,
    l: Array,  # noqa: E741
) -> tuple[float, float]:
    """Masses that sum to 1, their log-ratio, 0 where one of them is 0, and the masses of those."""
    only_p, only_q = 0.0, 0.0
    for j in range(p.shape[0]):
        left, right = np.float64(raw_p[j]) * cp, np.float64(raw_q[j]) * cq
        p[j], q[j] = left, right
        both = (left > 0.0) and (right > 0.0)
        only_p += 0.0 if both else left
        only_q += 0.0 if both else right
        a = left if both else 1.0
        b = right if both else 1.0
        inverse = 1.0 / b
        l[j] = logarithm(a * inverse, (a - b) * inverse)
    return only_p, only_q


@compiled
def correct_tiny(p: Array, q: Array, l: Array) -> None:  # noqa: E741
    """The log-ratio where a ratio could leave the range of numbers."""
    for j in range(p.shape[0]):
        if p[j] > 0.0 and q[j] > 0.0 and (p[j] < TINY or q[j] < TINY):
            l[j] = math.log(p[j]) - math.log(q[j])


@compiled
def softmax(raw: NDArray[Any], scale: float, mass: Array, log_mass: Array) -> bool:
    """Softmax of a row and its logarithm; False where the row has none."""
    top, undefined = -np.inf, 0
    for j in range(raw.shape[0]):
        z = np.float64(raw[j])
        top = z if z > top else top
        undefined += z != z
    if undefined > 0 or not np.isfinite(top):
        return False
    total = 0.0
    for j in range(raw.shape[0]):
        x = (np.float64(raw[j]) - top) * scale
        e = exponential(x)
        e = e if x > -700.0 else 0.0
        mass[j] = e
        log_mass[j] = x
        total += e
    shift, inverse = math.log(total), 1.0 / total
    for j in range(raw.shape[0]):
        mass[j] *= inverse
        log_mass[j] -= shift
    return True


@compiled
def log_ratios(log_p: Array, log_q: Array, p: Array, q: Array, l: Array) -> tuple[float, float]:  # noqa: E741
    """Log-ratio ln p − ln q, 0 where a class is ruled out; the masses whose partner is ruled out."""
    only_p, only_q = 0.0, 0.0
    for j in range(p.shape[0]):
        both = (log_p[j] > -np.inf) and (log_q[j] > -np.inf)
        only_p += 0.0 if both else p[j]
        only_q += 0.0 if both else q[j]
        l[j] = (log_p[j] - log_q[j]) if both else 0.0
    return only_p, only_q


@compiled
def of_masses(
    raw_p: NDArray[Any],
    raw_q: NDArray[Any],
    codes: NDArray[np.int64],
    numbers: Array,
    limits: Array,
    keep: NDArray[np.bool_],
    tolerance: float,
    counted: bool,
    sums: Array,
    wrong: NDArray[np.int8],
) -> None:
    """Probabilities or counts."""
    classes = raw_p.shape[1]
    p, q, l = np.empty(classes), np.empty(classes), np.empty(classes)  # noqa: E741
    for i in range(raw_p.shape[0]):
        if not keep[i]:
            continue
        total_p, negative_p, tiny_p = examined(raw_p[i])
        total_q, negative_q, tiny_q = examined(raw_q[i])
        if not sound(total_p, negative_p, tolerance, counted):
            wrong[i] = 1
            continue
        if not sound(total_q, negative_q, tolerance, counted):
            wrong[i] = 2
            continue
        scale_p, scale_q = 1.0 / total_p, 1.0 / total_q
        sums[i, 0], sums[i, 1] = fill_masses(raw_p[i], raw_q[i], scale_p, scale_q, p, q, l)
        if tiny_p + tiny_q > 0 or total_p > 1e6 or total_q > 1e6:
            correct_tiny(p, q, l)
        all_terms(p, q, l, codes, numbers, limits, sums[i])


@compiled
def sound(total: float, negative: int, tolerance: float, counted: bool) -> bool:
    """Whether a row of masses is a distribution, or counts that make one."""
    if counted:
        return negative == 0 and total > 0.0 and total < np.inf
    return negative == 0 and abs(total - 1.0) <= tolerance


@compiled
def of_logits(
    raw_p: NDArray[Any],
    raw_q: NDArray[Any],
    codes: NDArray[np.int64],
    numbers: Array,
    limits: Array,
    keep: NDArray[np.bool_],
    scale: float,
    sums: Array,
    wrong: NDArray[np.int8],
) -> None:
    """Logits."""
    classes = raw_p.shape[1]
    p, q, l = np.empty(classes), np.empty(classes), np.empty(classes)  # noqa: E741
    log_p, log_q = np.empty(classes), np.empty(classes)
    for i in range(raw_p.shape[0]):
        if not keep[i]:
            continue
        if not softmax(raw_p[i], scale, p, log_p):
            wrong[i] = 1
            continue
        if not softmax(raw_q[i], scale, q, log_q):
            wrong[i] = 2
            continue
        sums[i, 0], sums[i, 1] = log_ratios(log_p, log_q, p, q, l)
        all_terms(p, q, l, codes, numbers, limits, sums[i])


# ----------------------------------------------------------------------------- buffers to sums


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
