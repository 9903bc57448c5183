"""All methods of `divmatch match weights`, in the order in which help lists them."""

from divmatch.transport import (
    balancing,
    importance,
    kernel_moments,
    mean_matching,
    ratio_weights,
    robust_weights,
    tilting,
)
from divmatch.transport.reweighting import WEIGHTS

__all__ = [
    "WEIGHTS",
    "balancing",
    "importance",
    "kernel_moments",
    "mean_matching",
    "ratio_weights",
    "robust_weights",
    "tilting",
]
WEIGHTS.arrange(("entropy", "gel", "kmm", "mmd", "ratio", "tilt", "dro", "is"))
