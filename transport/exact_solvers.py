"""What computes an exact distance: the simplex on whole rows, or sorting of columns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from divmatch.errors import SettingError
from divmatch.estimator import Array
from divmatch.samples import Samples
from divmatch.transport import costs
from divmatch.transport.exact_costs import Moved, moved, scale_of
from divmatch.transport.exact_line import largest_move, moved_on_line


@dataclass(frozen=True)
class Solver:
    """What computes the p-th power of a distance, in powers of ``unit``."""

    solve: Callable[[Samples, Samples], Moved]
    p: float
    unit: float = 1.0

    @property
    def power(self) -> float:
        """What a cost of 1 is; 0 or inf where it is no number."""
        with np.errstate(over="ignore", under="ignore"):
            return float(np.float64(self.unit) ** self.p)


def solvers(
    samples: Sequence[Samples],
    cost: str,
    p: float,
    *,
    columnwise: bool,
    often: int = 1,
    whole: bool = False,
) -> list[Solver]:
    """What computes the distance ``often``: of the whole rows, or of each column.

    ``whole`` says that it is that between both samples, and not between parts of them.
    """
    points = [one.points for one in samples]
    if columnwise and cost != "euclidean":
        raise SettingError(
            f"--columnwise: compares numbers by |x − y|, --cost {cost} cannot be combined with it"
        )
    if columnwise or (samples[0].d == 1 and cost != "cosine"):
        power = 2 * p if cost == "sqeuclidean" else p
        pair = (samples[0], samples[1]) if whole else None
        return [_of_column(points, c, p, power, pair) for c in range(samples[0].d)]
    scale, ground = 1.0 if cost == "cosine" else scale_of(*points), costs.ground_of(cost, p)
    return [Solver(lambda x, y: moved(x, y, ground, scale, often), p, scale ** (ground.degree / p))]


def _of_column(
    points: Sequence[Array],
    column: int,
    p: float,
    power: float,
    pair: tuple[Samples, Samples] | None,
) -> Solver:
    """Sorting; a reference that is kept for the next candidate has a scale of its own only for p > 2.

    That of the largest move where it is known: high powers of others may be too small for numbers.
    """
    scale = 1.0
    if power > 2 and pair is not None:
        scale = largest_move(*pair, column)
    elif power > 2:
        scale = scale_of(*(one[:, column : column + 1] for one in points))
    return Solver(lambda x, y: moved_on_line(x, y, power, column, scale), p, scale ** (power / p))
