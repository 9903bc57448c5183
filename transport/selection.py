"""`divmatch match select`: what its methods share. Rows of P that stand for Q, or for P itself."""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from divmatch.bandwidth import Bandwidth, resolved, resolved_alone
from divmatch.errors import SettingError, counted
from divmatch.kernel_names import Form, Kernel, KernelName, check_unscaled, form_of
from divmatch.kernels import pairwise
from divmatch.kernels.backend import host_twin
from divmatch.matcher import Array, Figure, Fit, Task
from divmatch.randomness import stream
from divmatch.record import Note
from divmatch.samples import Samples
from divmatch.settings import Setting
from divmatch.transport.simplex import MOST, least_norm

Rows = NDArray[np.intp]
Number = Annotated[int | None, Setting("how many rows to choose", least=1, long=True)]
Unique = Annotated[bool, Setting("choose no row twice")]
Weighted = Annotated[
    bool, Setting("give the rows chosen the weights that stand best for the whole, not equal ones")
]
WIDE, NEAR = (
    16,
    0.0625,
)  # columns from which a product pays; of |x|² + |y|², below it digits are lost
CLOSER = 1 - 1e-6  # of the factor: what is nearer than that is nearer by rounding
DRAWS, PAIRS = 200, 4e9  # random subsets compared with, and pairs of rows that they may cost

SELECT = Task(
    "select",
    product="rows",
    default="herding",
    examples=(
        "divmatch match select real.npy --n 50 -o rows.npy",
        "divmatch match select gen.npy --to real.npy --n 50 --unique -o rows.npy",
        "divmatch match select real.npy --n 30 --weighted -o rows.npy --weights-out w.npy",
        "divmatch match select real.parquet --n 40 --method stratified --by device -o rows.npy",
        "divmatch match select real.npy --n 20 --method prototypes --criticisms 5 -o rows.npz",
    ),
)
__all__ = ["SELECT", "Bandwidth", "Kernel"]


@dataclass(frozen=True, eq=False)
class Whole:
    """The rows that may be chosen, and in the kernel's eyes the whole that they are to stand for.

    ``places`` are the numbers of P's rows that carry weight; ``mean`` is E k(xᵢ, T) over the target T,
    ``own`` k(xᵢ, xᵢ), ``inner`` E k(tⱼ, T), whose mean is ``energy``.
    """

    points: Array
    masses: Array
    places: Rows
    mean: Array
    own: Array
    target: Array
    shares: Array
    inner: Array
    energy: float
    form: Form
    params: dict[str, Any]
    notes: tuple[Note, ...]

    @property
    def n(self) -> int:
        """How many rows may be chosen."""
        return len(self.points)

    @property
    def even(self) -> bool:
        """Whether every row of P has the same weight."""
        return bool(np.ptp(self.masses) == 0)

    def gram(self, rows: Rows) -> Array:
        """The kernel of every two of some rows."""
        points = self.points[rows]
        return -self.form.sign * pairwise.product(
            self.form.profile, points, points, np.eye(len(rows))
        )

    def mmd(self, rows: Rows, weights: Array) -> float:
        """Squared MMD between weighted rows and the whole; every pair counts."""
        points, profile = self.points[rows], self.form.profile
        inner = -self.form.sign * float(weights @ pairwise.self_sums(profile, points, weights))
        return max(inner - 2.0 * float(weights @ self.mean[rows]) + self.energy, 0.0)


class Column:
    """k(xᵢ, x_s) of all rows and one of them at a time, on the processor's own twin."""

    def __init__(self, whole: Whole, picks: int) -> None:
        work = float(whole.n) * picks * (whole.points.shape[1] + 8)
        self.twin = host_twin(work, pairwise.COMPILED_FROM)
        self.profile, self.sign = whole.form.profile, -whole.form.sign
        self.wide = whole.points.shape[1] >= WIDE and self.profile.of_distance
        if self.wide:
            self.points = whole.points - whole.points.mean(axis=0)
            self.norms = np.einsum("ij,ij->i", self.points, self.points)
        else:
            self.points = np.asfortranarray(whole.points)  # a column of numbers at a time

    def of(self, row: int) -> Array:
        """Shape (n,)."""
        profile = self.profile
        if self.wide:
            squares = self._squares(row)[None]
            made: Array = self.twin.shaped(squares, profile.name, profile.scale)
        else:
            one = np.ascontiguousarray(self.points[row : row + 1])
            made = self.twin.tile(one, self.points, profile.name, profile.scale, profile.scales)
        return self.sign * made[0]

    def _squares(self, row: int) -> Array:
        """|xᵢ − x_s|² from one product; near ones, which lose digits there, from differences."""
        point, sizes = self.points[row], self.norms + self.norms[row]
        squares: Array = sizes - 2.0 * (self.points @ point)
        near = np.flatnonzero(squares <= NEAR * sizes)
        gaps = self.points[near] - point
        squares[near] = np.einsum("ij,ij->i", gaps, gaps)
        return squares


def whole_of(
    x: Samples, y: Samples | None, kernel: Any, bandwidth: float | str, number: int | None
) -> Whole:
    """What is to be stood for, and by which rows; refuses numbers of rows that cannot be."""
    places = places_of(x, number)
    form, params, notes = form_for(x, y, kernel, bandwidth)
    points = x.points if len(places) == x.n else x.points[places]
    masses = x.masses()[places]
    target, shares = (points, masses) if y is None else (y.points, y.masses())
    inner = -form.sign * pairwise.self_sums(form.profile, target, shares)
    mean = inner
    if y is not None:
        sums, _ = pairwise.cross_sums(form.profile, points, target, masses, shares)
        mean = -form.sign * sums
    own = -form.sign * form.profile.own(points)
    energy = float(shares @ inner)
    return Whole(
        points, masses, places, mean, own, target, shares, inner, energy, form, params, notes
    )


def places_of(x: Samples, number: int | None) -> Rows:
    """The rows of P that carry weight, of which there must be as many as are wanted."""
    places = np.flatnonzero(x.masses() > 0)
    if number is None:
        raise SettingError("select: how many rows? give --n K")
    if number > len(places):
        raise SettingError(
            f"--n {number}: {x.name} has {counted(len(places), 'row')} that may be chosen; give at most "
            "as many"
        )
    return places


def form_for(
    x: Samples, y: Samples | None, kernel: Any, bandwidth: float | str
) -> tuple[Form, dict[str, Any], tuple[Note, ...]]:
    """The kernel at its scale, and what the record says of it."""
    named = KernelName(kernel)
    if not named.scaled:
        check_unscaled(named, bandwidth, x, x if y is None else y)
        return form_of(named, 1.0), {}, ()
    scale, notes = resolved_alone(bandwidth, x) if y is None else resolved(bandwidth, x, y)
    return form_of(named, scale), {"bandwidth": scale}, notes


def chosen(
    whole: Whole,
    rows: Rows,
    weights: Array | None,
    *,
    weighted: bool,
    facts: dict[str, float | int | None] | None = None,
    arrays: dict[str, NDArray[Any]] | None = None,
) -> Fit:
    """The fit: rows and weights, how near they are to the whole, how near random rows are."""
    found = dict(facts or {})
    if weighted:
        weights, found["gap"] = optimal(whole, rows)
    if weights is None and not whole.even:
        weights = np.full(len(rows), 1.0 / len(rows))
    value = whole.mmd(rows, np.full(len(rows), 1.0 / len(rows)) if weights is None else weights)
    level, draws = random_level(whole, len(rows))
    factor = float(np.sqrt(level / value)) if value > 0 else None
    distinct = len(np.unique(rows))
    notes = list(whole.notes)
    if distinct < len(rows):
        again = counted(len(rows) - distinct, "pick")
        notes.append(
            Note(
                "W80", f"{again} of {len(rows)} fell on rows chosen before; --unique chooses others"
            )
        )
    if factor is not None and factor < CLOSER:
        notes.append(
            Note(
                "W81",
                f"rows chosen at random are nearer to the whole: MMD {1 / factor:.3g} times smaller",
            )
        )
    found |= {
        "distinct": distinct,
        "mmd2": value,
        "mmd2_random": level,
        "factor": factor,
        "random_draws": draws,
    }
    return Fit(
        rows=whole.places[rows],
        weights=weights,
        facts=found,
        params=whole.params,
        arrays={name: whole.places[values] for name, values in (arrays or {}).items()},
        notes=tuple(notes),
        figure=Figure("mmd", level, value),
    )


def optimal(whole: Whole, rows: Rows) -> tuple[Array, float]:
    """Weights on the simplex of least MMD, and how far they may be from the least squared MMD.

    With weights that sum to 1, MMD² = wᵀQw for the Gram matrix Q of the features about their mean over
    the whole.
    """
    if len(rows) > MOST:
        raise SettingError(f"--weighted: solves for at most {MOST} rows; give a smaller --n")
    mean = whole.mean[rows]
    centred = whole.gram(rows) - mean[:, None] - mean + whole.energy
    return least_norm(centred)


def random_level(whole: Whole, number: int) -> tuple[float, int]:
    """Mean squared MMD of as many rows chosen at random, by their weights, and of how many draws."""
    draws = int(min(DRAWS, max(10, PAIRS // number**2)))
    rng = stream(0, "match", "select", "random")
    weights = np.full(number, 1.0 / number)
    total = 0.0
    for _ in range(draws):
        rows = rng.choice(whole.n, number, replace=False, p=None if whole.even else whole.masses)
        total += whole.mmd(rows, weights)
    return total / draws, draws
