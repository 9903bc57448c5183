"""Array-module twin of `divmatch.kernels.cpu.means`."""

from typing import Any

from divmatch.kernels.gpu.pairwise import array_module


def row_means(tile: Any, scale: float, shift: Any, values: Any) -> tuple[Any, Any]:
    """Ln Σⱼ exp(z_ij) and Σⱼ exp(z_ij) valuesⱼ / Σⱼ exp(z_ij) with z = scale·tile + shift, of every row."""
    xp = array_module(tile)
    logits = scale * tile + shift
    top = logits.max(axis=1)
    logits -= top[:, None]
    shares = xp.exp(logits, out=logits)
    total = shares.sum(axis=1)
    return top + xp.log(total), (shares @ values) / total[:, None]
