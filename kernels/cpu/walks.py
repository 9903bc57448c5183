"""Compiled twin of `divmatch.kernels.gpu.walks`: one walk along both sorted lines."""

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.cpu.jit import compiled

Array = NDArray[np.float64]


def riesz_walk(line: Array, nodes: Array, a: Array, b: Array, out: Array) -> float:
    """See `divmatch.kernels.gpu.walks`."""
    return float(walked(line, nodes, a, b, out))


@compiled
def walked(line: Array, nodes: Array, a: Array, b: Array, out: Array) -> float:
    """Masses and moments below and up to each number grow along the line."""
    n, m = len(line), len(nodes)
    each_x, each_y = 1.0 / n, 1.0 / m
    whole = own = value = 0.0
    for j in range(m):
        mass = b[j] if len(b) else each_y
        whole += mass * nodes[j]
        value -= mass * nodes[j] * (2.0 * own + mass - 1.0)
        own += mass
    mass_low = moment_low = mass_high = moment_high = before = 0.0
    low = high = 0
    for i in range(n):
        x, weight = line[i], a[i] if len(a) else each_x
        while low < m and nodes[low] < x:
            mass = b[low] if len(b) else each_y
            mass_low += mass
            moment_low += mass * nodes[low]
            low += 1
        if high < low:
            high, mass_high, moment_high = low, mass_low, moment_low
        while high < m and nodes[high] == x:
            mass = b[high] if len(b) else each_y
            mass_high += mass
            moment_high += mass * nodes[high]
            high += 1
        pull = (mass_low + mass_high - 1.0) - (2.0 * before + weight - 1.0)
        value += weight * (x * pull - (moment_low + moment_high))
        before += weight
        out[i] = pull
    return value + whole
