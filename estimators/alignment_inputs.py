"""Alignment: the rows of two embeddings as one sample, what may be set, and orders of the rows."""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from divmatch.errors import SampleError, SettingError, counted
from divmatch.estimator import Array, Pooled, Quantity
from divmatch.estimators.neighbour_lists import Integers
from divmatch.estimators.quadratic import rounding
from divmatch.samples import Samples, as_samples, check_squares
from divmatch.settings import Setting

PARTNER = (
    "partner"  # the other embedding: its rows beside those of the first, its name in the origin
)

K = Annotated[int, Setting("nearest neighbours of every row", least=1)]
Metric = Annotated[
    Literal["cosine", "euclidean"],
    Setting("rows divided by their length, or as they are (kernels: about their mean)"),
]
Corrected = Annotated[
    bool, Setting("(value - chance) / (1 - chance): 0 for independent embeddings")
]


def with_partner(a: Samples, b: Samples) -> Samples:
    """The rows of a with those of b beside them; the columns may differ."""
    if a.n != b.n:
        raise SampleError(
            f"{a.name} has {counted(a.n, 'row')}, {b.name} has {b.n}; rows stand for the same things in "
            "both, so that both need as many"
        )
    check_squares(b)
    beside, origin = {**a.beside, PARTNER: b.points}, {**a.origin, PARTNER: b.name}
    return replace(a, beside=beside, origin=origin, _derived={})


def packed(a: Any, b: Any, *, weights: ArrayLike | None = None) -> tuple[Samples, None]:
    """Two arrays with matched rows as one sample."""
    return with_partner(as_samples(a, "a", weights), as_samples(b, "b")), None


ALIGN = Quantity(
    "align",
    title="alignment",
    unit="1",
    direction="symmetric",
    default="mutual-knn",
    better="higher",
    packed=packed,
    paired=True,
    scales=("none", "auto", "ref-sd", "ref-iqr"),
    examples=(
        "divmatch align text.npy image.npy",
        "divmatch align text.npy image.npy --method cka-unbiased --permutations 99 -f json",
        "divmatch align text.npy image.npy -k 5 --metric euclidean --corrected --min 0.1",
    ),
)


def plan_of(a: Samples, value: Callable[[Integers], float], chance: float) -> Pooled:
    """The value of every order of the rows of B, corrected for chance."""
    if a.weights is not None:
        raise SettingError(
            "align: rows with weights have no permutations, which would give a row the weight of "
            "another; leave out --permutations"
        )

    def statistic(orders: Integers) -> Array:
        return np.array([(value(order) - chance) / (1.0 - chance) for order in orders.T])

    return Pooled(statistic, lambda: rounding(a.n, 4.0 / (1.0 - chance)), draws="orders")


def carrying_rows(a: Samples, metric: str) -> tuple[Array, Array, Array]:
    """Rows that carry weight, of both, and their weights."""
    used, w = np.flatnonzero(a.masses() > 0), a.masses()
    made = []
    for points, name in ((a.points, a.name), (a.beside[PARTNER], a.origin.get(PARTNER, "b"))):
        rows = points[used]
        if metric == "cosine":
            lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
            if not lengths.min() > 0:
                row = int(used[np.argmin(lengths)])
                raise SampleError(
                    f"{name}: row {row} (from 0) is 0 in all columns and has no direction; choose "
                    "--metric euclidean"
                )
            rows = rows / lengths[:, None]
        else:
            rows = rows - w[used] @ rows / w[used].sum()
        made.append(np.ascontiguousarray(rows))
    return made[0], made[1], w[used] / w[used].sum()


def refuse_weights(a: Samples, method: str) -> None:
    """For what has no weighted form."""
    if a.weights is not None:
        raise SettingError(
            f"align: --method {method} is not defined for rows with weights; choose mutual-knn or cka"
        )
