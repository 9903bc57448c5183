"""A frame around Q in which particles move: its mean is 0, its spread about 1."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import counted
from divmatch.record import Note
from divmatch.samples import Samples

Array = NDArray[np.float64]

ROUNDED = 1e-13  # of Q's mean or P's distance: a spread that rounding may have made
JITTER = 1e-9  # of the spread, which parts rows that coincide


@dataclass(frozen=True, eq=False)
class Frame:
    """(x − centre) / scale; the scale is a power of two, so that no digit is lost."""

    centre: Array
    scale: float

    @classmethod
    def of(cls, x: Samples, y: Samples) -> "Frame":
        """Q's mean and spread, or the distance of P where Q has none."""
        centre = y.masses() @ y.points
        spread, away = (rms(one.points - centre, one.masses()) for one in (y, x))
        if not spread > ROUNDED * max(float(np.abs(centre).max()), away):
            spread = away
        return cls(centre, 2.0 ** round(math.log2(spread)) if spread > 0 else 1.0)

    def inward(self, points: Array) -> Array:
        """Points in the frame."""
        return (points - self.centre) / self.scale

    def outward(self, points: Array) -> Array:
        """Points in their own units."""
        return np.asarray(points * self.scale + self.centre)


def rms(points: Array, masses: Array) -> float:
    """The root mean square of the rows' lengths."""
    largest = float(np.abs(points).max(initial=0.0))
    if not largest > 0:
        return 0.0
    rows = points / largest
    return largest * math.sqrt(float(masses @ np.einsum("ij,ij->i", rows, rows)))


def parted(points: Array, rng: "np.random.Generator", name: str) -> tuple[Array, tuple[Note, ...]]:
    """Rows that coincide would stay together for ever: they are moved apart by next to nothing."""
    rows = np.ascontiguousarray(points + 0.0)
    keys = rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1]))).ravel()
    _, first, counts = np.unique(keys, return_index=True, return_counts=True)
    again = len(rows) - len(first)
    if not again:
        return points, ()
    _, places = np.unique(keys, return_inverse=True)
    tied = counts[places] > 1
    made = points.copy()
    made[tied] += JITTER * rng.standard_normal((int(tied.sum()), points.shape[1]))
    text = f"{name}: {counted(again, 'row')} equal to others: moved apart by 1e-9 of Q's spread"
    return made, (Note("W11", text),)
