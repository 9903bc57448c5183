"""How much nearer rows are to the prototype of their own class than to any other."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from divmatch.errors import InconclusiveError, SampleError, SettingError, counted
from divmatch.estimator import Array, Estimate, Quantity
from divmatch.kernels.neighbours import Neighbours
from divmatch.record import Note
from divmatch.samples import Samples, as_samples, check_partners
from divmatch.settings import Setting

LABELS = "labels"  # the number of each row's class, beside the rows
Integers = NDArray[np.int64]

PlainMeans = Annotated[
    bool, Setting("a row counts in its own prototype too; else that is the mean of the other rows")
]
KlScale = Annotated[
    bool, Setting("times the columns, plus ln(prototypes of the others / own): an estimate of KL")
]


def _unit(settings: Mapping[str, Any]) -> str:
    return "nats" if settings["kl_scale"] else "1"


def labelled(x: Samples, labels: ArrayLike, name: str = LABELS) -> Samples:
    """The samples with the number of each row's class beside them, in the order of the words."""
    given = np.asarray(labels)
    if given.size != x.n or x.n not in given.shape:
        raise SampleError(
            f"{name}: has shape {given.shape}, expected {counted(x.n, 'label')}, one for each row of {x.name}"
        )
    if given.dtype.kind == "f" and np.isnan(given).any():
        raise SampleError(
            f"{name}: has no label at row {np.flatnonzero(np.isnan(given))[0]} (from 0)"
        )
    codes = np.unique(given.reshape(x.n), return_inverse=True)[1]
    return replace(x, beside={**x.beside, LABELS: codes.astype(np.float64)}, _derived={})


def packed(
    z: Any,
    labels: ArrayLike,
    others: Any = None,
    others_labels: ArrayLike | None = None,
    *,
    weights: ArrayLike | None = None,
) -> tuple[Samples, Samples | None]:
    """The rows with their classes; the other prototypes, or rows that have them as class means."""
    x = labelled(as_samples(z, "z", weights), labels)
    if others is None:
        return x, None
    y = as_samples(others, "others")
    check_partners(x, y)
    return x, y if others_labels is None else labelled(y, others_labels, "others_labels")


PROTOTYPES = Quantity(
    "prototypes",
    title="prototype distance",
    unit=_unit,
    direction="P",
    default="means",
    better="higher",
    packed=packed,
    scales=("auto", "none", "ref-sd", "ref-iqr"),
    examples=(
        "divmatch prototypes visits-new.parquet --columns seconds --labels site",
        "divmatch prototypes train.npy --labels classes.npy --others test.npy --kl-scale",
        "divmatch prototypes train.npy --labels classes.npy --min 0 -f json",
    ),
)


@PROTOTYPES.estimator("means", source="arXiv:2304.05288")
def prototypes(
    z: Samples,
    others: Samples | None = None,
    *,
    plain_means: PlainMeans = False,
    kl_scale: KlScale = False,
) -> Estimate:
    """Mean log ratio of the distances to the nearest other prototype and to the own one.

    Σᵢ wᵢ ln( minⱼ |zᵢ − μ'ⱼ| / |zᵢ − μ_c(i)| ). A prototype is the mean of a class; the others μ' are
    those of the other classes of Z or, with OTHERS, those of another task. Above 0 where rows are
    nearer to the prototype of their class than to all others, 0 where the classes cannot be told
    apart, negative where the others are closer. It has no bound.

    The own prototype is the mean of the other rows of the class: a row that counts in its own mean is
    drawn to it, and a class of one row would be at distance 0, which makes the number infinite. Rows
    of such classes are left out of the mean, and a warning (W63) counts them.

    With --kl-scale the number is d times the ratio plus the logarithm of how many other prototypes
    there are for each own one: KL from Z to OTHERS as nearest neighbours estimate it, with prototypes
    for neighbours; a surrogate, with the bias of so few.

    The average is over rows; the published code sums over classes. The interval comes from the
    influences of the rows, on their own terms and on the prototypes.

    Parameters
    ----------
    z : Samples
        Rows of shape (n, d), weighted or not; the numbers of their classes stand beside them.
    others : Samples
        Rows with classes beside them, or the prototypes themselves; None for the other classes of z.
    plain_means : bool
        Whether a row counts in its own prototype.
    kl_scale : bool
        Whether the number is put on the scale of a KL divergence; it needs others.

    Returns
    -------
    Estimate
        The mean, without unit or, on the scale of KL, in nats; inf where a row is its own prototype.

    Raises
    ------
    InconclusiveError
        When there is no other prototype, or no class has two rows.

    Notes
    -----
    Cost: O(n C d) for C prototypes; memory O(n + C d) and blocks.

    Source: arXiv:2304.05288 (PAR), with leave-one-out means and an average over rows.

    Examples
    --------
    >>> import divmatch
    >>> rows = [0.0, 2.0, 10.0, 12.0]
    >>> round(divmatch.prototypes(rows, [0, 0, 1, 1]).value, 6)
    1.604413
    """
    if kl_scale and others is None:
        raise SettingError("prototypes: --kl-scale needs the prototypes of OTHERS; give --others")
    own = _classes(z)
    rivals = own if others is None else _classes(others)
    used = np.ones(z.n, dtype=bool) if plain_means else own.rows[own.numbers] > 1
    used &= z.masses() > 0
    if not used.any():
        raise InconclusiveError(
            f"prototypes: no class of {z.name} has two rows; choose --plain-means"
        )
    centres, weight = own.means[own.numbers], z.masses()
    if not plain_means:
        left = np.where(used, own.masses[own.numbers] - weight, 1.0)
        centres = (own.masses[own.numbers, None] * centres - weight[:, None] * z.points) / left[
            :, None
        ]
    near, to_others = _nearest(z, own, rivals, alone=others is None)
    difference = z.points - centres
    to_own = np.sqrt(np.einsum("ij,ij->i", difference, difference))
    both = (to_own == 0) & (to_others == 0)
    with np.errstate(divide="ignore"):
        ratios = np.where(both, 0.0, np.log(to_others) - np.log(to_own))
    w = np.where(used, weight, 0.0)
    w = w / w.sum()
    value = float(w[used] @ ratios[used])
    scale = float(z.d) if kl_scale else 1.0
    shift = float(np.log(len(rivals.means) / len(own.means))) if kl_scale else 0.0
    terms_x = terms_y = None
    if np.isfinite(value):
        moved = _moved(z.points, w, own, centres, to_own, own.numbers)
        pulled = -_moved(z.points, w, rivals, rivals.means[near], to_others, near)
        terms_x = np.where(used, (ratios - value) * w / np.maximum(weight, 1e-300), 0.0)
        terms_x += own.influences(z, moved + pulled if others is None else moved)
        terms_x = scale * terms_x
        terms_y = None if others is None else scale * rivals.influences(others, pulled)
    return Estimate(
        scale * value + shift,
        terms_x=terms_x,
        terms_y=terms_y,
        params={"classes": len(own.means), "others": len(rivals.means) - (others is None)},
        notes=_notes(own, used, both, plain_means=plain_means),
    )


@dataclass(frozen=True, eq=False)
class Classes:
    """Class means, with the rows and the mass behind each; given prototypes are classes of their own."""

    numbers: Integers  # the class of every row
    means: Array
    masses: Array
    rows: NDArray[np.int64]
    given: bool

    def influences(self, samples: Samples, slopes: Array) -> Array:
        """Each row's influence through the mean of its class, for the value's slope at the mean."""
        if self.given:
            return np.empty(0)
        moved = np.einsum(
            "ij,ij->i", samples.points - self.means[self.numbers], slopes[self.numbers]
        )
        made: Array = moved / self.masses[self.numbers]
        return made


def _classes(samples: Samples) -> Classes:
    """The classes beside the rows; without them every row is a prototype. Weightless ones are none."""
    w = samples.masses()
    given = LABELS not in samples.beside
    codes = np.arange(samples.n) if given else samples.beside[LABELS].astype(np.int64)
    kept = np.unique(codes[w > 0])
    numbers = np.minimum(np.searchsorted(kept, codes), len(kept) - 1)
    masses = np.asarray(np.bincount(numbers, w, len(kept)), dtype=np.float64)
    means = np.zeros((len(kept), samples.d))
    np.add.at(means, numbers, w[:, None] * samples.points)
    rows = np.bincount(numbers[w > 0], minlength=len(kept))
    return Classes(numbers.astype(np.int64), means / masses[:, None], masses, rows, given)


def _nearest(z: Samples, own: Classes, rivals: Classes, *, alone: bool) -> tuple[Integers, Array]:
    """The nearest other prototype of every row, and its distance."""
    if not alone:
        distances, near = Neighbours(rivals.means).nearest(z.points, 1)
        return near[:, 0], distances[:, 0]
    if len(own.means) < 2:
        raise InconclusiveError(
            f"prototypes: {z.name} has one class; give --others, or more classes"
        )
    distances, near = Neighbours(own.means).nearest(z.points, 2)
    place = (near[:, 0] == own.numbers).astype(np.int64)
    every = np.arange(z.n)
    return near[every, place], distances[every, place]


def _moved(
    points: Array, w: Array, of: Classes, centres: Array, distances: Array, numbers: Integers
) -> Array:
    """The slope of −Σ wᵢ ln|zᵢ − μ| at the mean of every class, of the rows that it is the centre of."""
    square = np.where(distances > 0, distances, np.inf) ** 2
    slopes = np.zeros_like(of.means)
    np.add.at(slopes, numbers, (w / square)[:, None] * (points - centres))
    return slopes


def _notes(
    own: Classes, used: NDArray[np.bool_], both: NDArray[np.bool_], *, plain_means: bool
) -> tuple[Note, ...]:
    alone = int(np.count_nonzero(own.rows == 1))
    notes = []
    if alone and not plain_means:
        what = f"{counted(alone, 'row')} without another of the class"
        notes.append(Note("W63", f"{what}: left out of the mean, for there is no prototype"))
    tied = int(np.count_nonzero(both & used))
    if tied:
        rows = counted(tied, "row")
        notes.append(
            Note("W03", f"{rows} at distance 0 from both prototypes count with a ratio of 1")
        )
    return tuple(notes)
