"""`divmatch match map`: what its methods share."""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError
from divmatch.matcher import Fit, Task, Told
from divmatch.record import Note, Result
from divmatch.samples import Samples
from divmatch.settings import Setting
from divmatch.transport import costs
from divmatch.transport.maps import RowMap
from divmatch.transport.monge_gap import monge_gap

Array = NDArray[np.float64]

Debiased = Annotated[
    bool, Setting("take off where the entropic map of P to itself sends a row: no shrinkage")
]

MAP = Task(
    "map",
    product="points",
    default="gaussian",
    reusable=True,
    examples=(
        "divmatch match map gen.npy real.npy -o moved.npy",
        "divmatch match map gen.parquet real.parquet --columns amount,age --method sinkhorn --fit map.npz",
        "divmatch match map --apply map.npz new.parquet --na drop -o moved.parquet",
    ),
)


def mapped(x: Samples, made: RowMap, *, cost: str = "sqeuclidean", **rest: Any) -> Fit:
    """The rows of P where the map sends them, and what any other row becomes."""
    points = made(x.points)
    if not np.isfinite(points).all():
        raise InconclusiveError(
            f"match map: some rows of {x.name} would go to no finite number; divide all rows by a "
            "constant first, or choose another --method"
        )
    return Fit(
        points=points,
        mapping=made,
        extend=lambda rows: replace(rows, points=made(rows.points), beside={}, _derived={}),
        after=_told(x, points, cost),
        **rest,
    )


def _told(x: Samples, points: Array, cost: str) -> Callable[[], Told]:
    """The Monge gap of the fit to all rows, which takes a transport problem."""

    def after() -> Told:
        gap = monge_gap(x, points, cost)
        result = Result(
            "monge_gap", "", gap.value, costs.unit(cost), "P", (x.n,), x.d, id="monge_gap"
        )
        notes: tuple[Note, ...] = ()
        if gap.rows < np.count_nonzero(x.masses()):
            text = f"the Monge gap comes from {gap.rows} evenly spaced rows of {x.name}"
            notes = (Note("W50", text),)
        return Told({"monge_gap": gap.value, "mean_cost": gap.cost}, (result,), notes)

    return after
