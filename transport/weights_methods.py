"""All methods of `divmatch match weights`, in the order in which help lists them."""

from divmatch.transport import balancing, mean_matching, robust_weights
from divmatch.transport.reweighting import WEIGHTS

__all__ = ["WEIGHTS", "balancing", "mean_matching", "robust_weights"]
