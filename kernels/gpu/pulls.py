"""Array-module twin of `divmatch.kernels.cpu.pulls`."""

from typing import Any

from divmatch.kernels.gpu.pairwise import array_module, tile


def pull_sums(
    x: Any, y: Any, profile: str, scale: float, weights: Any, carried: Any
) -> tuple[Any, Any]:
    """K W and S C of a block, for the kernel K and S = −φ'(r) / r, 0 where r = 0."""
    kernel = tile(x, y, profile, scale)
    sums = kernel @ weights
    if profile == "gaussian":
        kernel /= scale * scale
    elif profile == "imq":
        kernel *= kernel * kernel
    elif profile == "rq":
        kernel *= kernel / (scale * scale)
    else:
        xp = array_module(x)
        kernel = xp.where(kernel > 0.0, -1.0 / xp.where(kernel > 0.0, kernel, 1.0), 0.0)
    return sums, kernel @ carried


def exponentials(exponents: Any) -> Any:
    """Exp of float32 numbers that are 0 at the most, but for rounding; in their place."""
    xp = array_module(exponents)
    return xp.exp(xp.minimum(exponents, 0, out=exponents), out=exponents)
