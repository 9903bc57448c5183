"""Every method of alignment, in the order of the help."""

from divmatch.estimators import alignment_kernels, alignment_neighbours
from divmatch.estimators.alignment_inputs import ALIGN, packed

__all__ = ["ALIGN", "alignment_kernels", "alignment_neighbours", "packed"]

ALIGN.arrange(["mutual-knn", "cycle-knn", "cknna", "cka", "cka-unbiased"])
