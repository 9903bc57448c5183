"""Loads every family of methods of the divergences with a density ratio, and so declares them."""

from divmatch.estimators import discrete, gaussian, histogram, neighbour_distance
from divmatch.estimators.divergences import FDIV, KL, RENYI

__all__ = ["FDIV", "KL", "RENYI", "discrete", "gaussian", "histogram", "neighbour_distance"]
