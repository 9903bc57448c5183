"""All methods of mi: importing this module declares them."""

from divmatch.estimators import gaussian_dependence, wasserstein_dependence
from divmatch.estimators.mutual_information import MI

__all__ = ["gaussian_dependence", "wasserstein_dependence"]

MI.arrange(["ksg", "gao", "wasserstein", "wasserstein-gaussian"])
