"""The four tolerances of the suite; every comparison says by name why it may be off."""

import numpy as np


def SAME(left, right):
    """Whether two numbers or arrays agree in shape, type and every bit."""
    left, right = np.asarray(left), np.asarray(right)
    alike = left.shape == right.shape and left.dtype == right.dtype
    return alike and left.tobytes() == right.tobytes()


def ROUNDING(n, dtype=np.float64, scale=1.0):
    """Absolute error of a sum of n terms whose absolute values add up to ``scale``."""
    return 8 * float(np.finfo(dtype).eps) * n**0.5 * scale


def SOLVER(tol):
    """Ten times the tolerance at which the solver itself stops."""
    return 10 * tol


def LUCK(se, z=5.0, bias=0.0):
    """``z`` standard errors and the bias that is known to be there."""
    return z * se + bias
