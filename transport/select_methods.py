"""All methods of `divmatch match select`, in the order in which help lists them."""

from divmatch.transport import covering, halving, herding, strata
from divmatch.transport.selection import SELECT

__all__ = ["SELECT", "covering", "halving", "herding", "strata"]

SELECT.arrange(["herding", "thinning", "greedy", "prototypes", "stratified"])
