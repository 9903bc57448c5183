"""All methods of mmd: importing this module declares them."""

from divmatch.estimators import mmd_blocks, mmd_features
from divmatch.estimators.mmd import MMD

__all__ = ["mmd_blocks", "mmd_features"]

MMD.arrange(["u", "v", "linear", "block", "subsets", "rff", "nystroem"])
