"""Rows less a centre with the squares of their lengths: what a product needs to give distances.

Both twins use it: the arrays are those of the module that they came from.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

PRODUCT_COLUMNS = 16  # columns from which a product is faster than differences
NEAR = 0.0625  # of |x|² + |y|²: below it their difference has lost digits


@dataclass(frozen=True, eq=False)
class Rows:
    """Points; where there are many columns also less a centre, with the squares of their lengths."""

    points: Any
    centred: Any = None
    squares: Any = None

    def __getitem__(self, own: slice) -> "Rows":
        if self.centred is None:
            return Rows(self.points[own])
        return Rows(self.points[own], self.centred[own], self.squares[own])


def prepared(points: Any, centre: Any) -> Rows:
    """What squared distances of some of the points need."""
    if points.shape[1] < PRODUCT_COLUMNS:
        return Rows(points)
    centred = points - centre
    return Rows(points, centred, np.einsum("ij,ij->i", centred, centred))
