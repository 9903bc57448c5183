"""Exponentials and logarithms of the compiled twins, written out so that the loops vectorise."""

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from divmatch.kernels.cpu.jit import inlined

LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
LOG2_E = 1.4426950408889634
ROOT_HALF = np.uint64(0x3FE6A09E667F3BCD)  # bits of √½
TO_ONE = np.uint64(0x3FF0000000000000 - 0x3FE6A09E667F3BCD)
MANTISSA = np.uint64(0x000FFFFFFFFFFFFF)
EXPONENT = np.uint64(52)


@inlined
def slope(r: float) -> float:
    """(exp(r) − 1) / r for |r| <= ln(2) / 2."""
    p = 2.08767569878681e-09
    p = p * r + 2.505210838544172e-08
    p = p * r + 2.755731922398589e-07
    p = p * r + 2.7557319223985893e-06
    p = p * r + 2.48015873015873e-05
    p = p * r + 0.0001984126984126984
    p = p * r + 0.001388888888888889
    p = p * r + 0.008333333333333333
    p = p * r + 0.041666666666666664
    p = p * r + 0.16666666666666666
    p = p * r + 0.5
    return p * r + 1.0


@inlined
def power_of_two(k: float) -> float:
    """2^k for a whole number k."""
    return np.int64((np.int64(k) + np.int64(1023)) << np.int64(52)).view(np.float64)


def exponential(value: float) -> float:
    """Exp for value <= 0, relative error below 4e-16 (float32: 2e-7, and e^-60 for all below −60)."""
    raise NotImplementedError  # compiled callers get one of the two below, by the type of the value


def _falling(value: Any) -> Any:
    value = max(value, -700.0)
    k = np.floor(value * LOG2_E + 0.5)
    r = value - k * LN2_HIGH - k * LN2_LOW
    return (slope(r) * r + 1.0) * power_of_two(k)


@overload(exponential, inline="always")
def _exponential(value: Any) -> Any:
    return _single_exponential if value == types.float32 else _falling


def bounded_exponential(value: float) -> float:
    """Exp of a value kept within −650 and 700 (float32: −60 and 86), up to 4e-16 (2e-7) of it.

    The lower bound leaves room for a weight: products with numbers below the normal ones are slow.
    """
    raise NotImplementedError  # compiled callers get one of the two below, by the type of the value


def _double_exponential(value: Any) -> Any:
    value = min(max(value, -650.0), 700.0)
    k = np.floor(value * LOG2_E + 0.5)
    r = value - k * LN2_HIGH - k * LN2_LOW
    return (slope(r) * r + 1.0) * power_of_two(k)


def _single_exponential(value: Any) -> Any:
    value = min(max(value, np.float32(-60.0)), np.float32(86.0))
    k = np.floor(value * np.float32(LOG2_E) + np.float32(0.5))
    r = value - k * np.float32(0.693359375) + k * np.float32(2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    p = p * r * r + r + np.float32(1.0)
    return p * np.int32((np.int32(k) + np.int32(127)) << np.int32(23)).view(np.float32)


@overload(bounded_exponential, inline="always")
def _bounded_exponential(value: Any) -> Any:
    return _single_exponential if value == types.float32 else _double_exponential


def bounded_power(value: float) -> float:
    """2^value for a value kept within −940 and 1010 (float32: −86 and 125), up to 6e-16 (2e-7) of it.

    The lower bound leaves room for a weight: products with numbers below the normal ones are slow.
    The whole part goes into the exponent as an integer; powers of two need no reduction by ln 2.
    """
    raise NotImplementedError  # compiled callers get one of the two below, by the type of the value


def _double(value: Any) -> Any:
    value = min(max(value, -940.0), 1010.0)
    k = np.rint(value)
    r = value - k
    p = 7.0742149915759e-09
    p = p * r + 1.0208689094071133e-07
    p = p * r + 1.3215432424495965e-06
    p = p * r + 1.5252657266484615e-05
    p = p * r + 1.5403530463913712e-04
    p = p * r + 1.333355823015435e-03
    p = p * r + 9.618129107587163e-03
    p = p * r + 5.5504108664447785e-02
    p = p * r + 2.4022650695910158e-01
    p = p * r + 6.931471805599500e-01
    p = p * r + 1.0
    bits = np.float64(p).view(np.int64) + (np.int64(k) << np.int64(52))
    return np.int64(bits).view(np.float64)


def _single(value: Any) -> Any:
    value = min(max(value, np.float32(-86.0)), np.float32(125.0))
    k = np.rint(value)
    r = value - k
    p = np.float32(1.5469731977e-4)
    p = p * r + np.float32(1.3400432165e-3)
    p = p * r + np.float32(9.6180260030e-3)
    p = p * r + np.float32(5.5503272142e-2)
    p = p * r + np.float32(2.4022651214e-1)
    p = p * r + np.float32(6.9314720671e-1)
    p = p * r + np.float32(1.0)
    bits = np.float32(p).view(np.int32) + (np.int32(k) << np.int32(23))
    return np.int32(bits).view(np.float32)


@overload(bounded_power, inline="always")
def _bounded_power(value: Any) -> Any:
    return _single if value == types.float32 else _double


@inlined
def growth(value: float) -> float:
    """exp(value) − 1 with all its digits near 0; inf above 709."""
    x = min(max(value, -700.0), 709.0)
    k = np.floor(x * LOG2_E + 0.5)
    r = x - k * LN2_HIGH - k * LN2_LOW
    power = power_of_two(k)
    grown = power * (slope(r) * r) + (power - 1.0)
    return np.inf if value > 709.0 else grown


@inlined
def logarithm(ratio: float, excess: float) -> float:
    """Ln of a normal ratio, relative error below 4e-16; ``excess`` is ratio − 1 with all its digits."""
    bits = np.float64(ratio).view(np.uint64) + TO_ONE
    k = np.float64(np.int64(bits >> EXPONENT) - np.int64(1023))
    m = np.uint64((bits & MANTISSA) + ROOT_HALF).view(np.float64)
    f = excess if k == 0.0 else m - 1.0
    s = f / (2.0 + f)
    z = s * s
    r = 1.531383769920937332e-01 + z * 1.479819860510011700e-01
    r = 1.818357216161805012e-01 + z * r
    r = 2.222219843214978396e-01 + z * r
    r = 2.857142874366239149e-01 + z * r
    r = 3.999999999940941908e-01 + z * r
    r = z * (6.666666666666735130e-01 + z * r)
    half = 0.5 * f * f
    return k * LN2_HIGH - ((half - (s * (half + r) + k * LN2_LOW)) - f)
