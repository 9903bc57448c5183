"""All methods of mi: importing this module declares them."""

from divmatch.estimators import wasserstein_dependence
from divmatch.estimators.mutual_information import MI

__all__ = ["MI", "wasserstein_dependence"]
