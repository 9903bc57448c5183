"""All methods of sliced, in the order in which help lists them."""

from divmatch.transport.sliced import SLICED
from divmatch.transport.sliced_distributional import sliced_distributional
from divmatch.transport.sliced_max import sliced_max

__all__ = ["SLICED", "sliced_distributional", "sliced_max"]

SLICED.arrange(("w", "max", "distributional"))
