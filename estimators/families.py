"""Loads every family of methods of the divergences with a density ratio, and so declares them."""

from divmatch.estimators import gaussian, neighbour_distance
from divmatch.estimators.divergences import FDIV, KL, RENYI

__all__ = ["FDIV", "KL", "RENYI", "gaussian", "neighbour_distance"]
