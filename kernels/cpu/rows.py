"""Compiled twin of `divmatch.kernels.gpu.rows`: one row at a time, its buffers stay in the cache."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.cpu.elementary import exponential, logarithm
from divmatch.kernels.cpu.jit import compiled
from divmatch.kernels.cpu.row_terms import FAR, all_terms, far_terms

Array = NDArray[np.float64]

TINY = 1e-150  # ratios of larger masses neither overflow nor vanish


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
def softmax(raw: NDArray[Any], scale: float, mass: Array, log_mass: Array) -> tuple[bool, int]:
    """Softmax of a row and its logarithm, whether it has one, and how many masses are far down."""
    top, undefined = -np.inf, 0
    for j in range(raw.shape[0]):
        z = np.float64(raw[j])
        top = z if z > top else top
        undefined += z != z
    if undefined > 0 or not np.isfinite(top):
        return False, 0
    total, far = 0.0, 0
    for j in range(raw.shape[0]):
        x = (np.float64(raw[j]) - top) * scale
        e = exponential(x)
        e = e if x > -700.0 else 0.0
        mass[j] = e
        log_mass[j] = x
        total += e
        far += bool((x < FAR) & (x > -np.inf))
    shift, inverse = math.log(total), 1.0 / total
    for j in range(raw.shape[0]):
        mass[j] *= inverse
        log_mass[j] -= shift
    return True, far


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
        sound, far_p = softmax(raw_p[i], scale, p, log_p)
        if not sound:
            wrong[i] = 1
            continue
        sound, far_q = softmax(raw_q[i], scale, q, log_q)
        if not sound:
            wrong[i] = 2
            continue
        sums[i, 0], sums[i, 1] = log_ratios(log_p, log_q, p, q, l)
        all_terms(p, q, l, codes, numbers, limits, sums[i])
        if far_p + far_q > 0:
            far_terms(p, q, l, log_p, log_q, codes, numbers, sums[i])
