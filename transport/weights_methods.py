"""All methods of `divmatch match weights`, in the order in which help lists them."""

from divmatch.transport import (
    balancing,
    importance,
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
    "mean_matching",
    "ratio_weights",
    "robust_weights",
    "tilting",
]
WEIGHTS.arrange(("entropy", "gel", "kmm", "ratio", "tilt", "dro", "is"))
