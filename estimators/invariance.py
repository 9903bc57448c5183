"""Finite groups that leave both distributions as they are: permuted, flipped, shifted, turned columns.

If P and Q are invariant, every row stands for its whole orbit. Kernel methods average the kernel
over the group (`divmatch.estimators.orbits`); methods of nearest neighbours take one row of each
orbit (`represented`), and so do critics; linear ones average their features over the orbit
(`Group.averaged`). A group that does not fit biases all of them, so `assumption` tests each sample
first.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations, product
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from divmatch.bandwidth import median_distance
from divmatch.columns import chosen
from divmatch.errors import InconclusiveError, SettingError, suggestion
from divmatch.kernels.pairwise import Profile, self_sums
from divmatch.randomness import stream
from divmatch.record import Note
from divmatch.samples import Points, Samples
from divmatch.settings import Setting

Array = NDArray[np.float64]
Move = tuple[tuple[int, ...], tuple[int, ...]]  # column c of g·x is signs[c] · x[order[c]]

KINDS = ("perm", "flip", "cyclic", "rot90")
LARGEST = 1024  # elements of a group that are gone through one by one
CHECKED_ROWS = 300  # rows of each sample on which the assumption is tested
CHECKS, ALARM = 199, 0.01  # random moves of every row, and the p-value that is worth a warning


def invariance_text(text: str) -> str:
    """Check the spelling kind:COLUMNS; the columns themselves are looked up in the data."""
    kind, colon, columns = (part.strip() for part in text.partition(":"))
    if kind not in KINDS or not colon or not columns:
        near = suggestion(kind, KINDS) if kind not in KINDS else ""
        raise SettingError(
            f"--invariant {text}: expected perm:COLS, flip:COLS, cyclic:COLS or rot90:I,J{near}"
        )
    return f"{kind}:{columns}"


def assumption(x: Samples, y: Samples, text: str) -> tuple[Note, ...]:
    """A coded warning for each sample that is not invariant."""
    notes = []
    for samples in (x, y):
        p_value = _invariance_p(samples, text)
        if p_value <= ALARM:
            notes.append(
                Note(
                    "W16",
                    f"{samples.name}: differs from its images under --invariant {text} "
                    f"(p = {p_value:.2g}); the estimate is biased, leave --invariant out",
                )
            )
    return tuple(notes)


Invariant = Annotated[
    str | None,
    Setting(
        "group under which P and Q are unchanged: perm:COLS, flip:COLS, cyclic:COLS, rot90:I,J",
        parse=invariance_text,
        assumption=assumption,
    ),
]


@dataclass(frozen=True)
class Group:
    """A finite group of signed permutations of some ``columns``: isometries that keep all else.

    perm: all orders of the columns. flip: all signs, each column by itself. cyclic: all shifts in
    the order given. rot90: the quarter turns of two columns.
    """

    kind: str
    columns: tuple[int, ...]

    @property
    def text(self) -> str:
        """How the command line would write it, by positions."""
        return f"{self.kind}:{','.join(map(str, self.columns))}"

    @property
    def size(self) -> int:
        """The number of elements |G|."""
        k = len(self.columns)
        return {"perm": math.factorial(k), "flip": 2**k, "cyclic": k, "rot90": 4}[self.kind]

    @cached_property
    def moves(self) -> tuple[Move, ...]:
        """Every element, the identity first."""
        if self.size > LARGEST:
            raise SettingError(
                f"--invariant {self.text}: a group of {self.size} elements, at most {LARGEST} can be "
                "averaged over; name fewer columns"
            )
        k = len(self.columns)
        same, plus = tuple(range(k)), (1,) * k
        if self.kind == "perm":
            return tuple((order, plus) for order in permutations(same))
        if self.kind == "flip":
            return tuple((same, signs) for signs in product((1, -1), repeat=k))
        if self.kind == "cyclic":
            return tuple((same[s:] + same[:s], plus) for s in range(k))
        return (((0, 1), (1, 1)), ((1, 0), (-1, 1)), ((0, 1), (-1, -1)), ((1, 0), (1, -1)))

    def moved(self, points: Points, move: Move) -> Points:
        """g·x of every row."""
        block = points[:, self.columns]
        return self._with(points, block[:, move[0]] * np.array(move[1], dtype=float))

    def halves(self) -> Iterator[tuple[Move, bool]]:
        """One of each pair {g, g⁻¹}, and whether the two differ."""
        for move in self.moves:
            back = inverse(move)
            if move <= back:
                yield move, move != back

    def orbit(self, points: Points) -> Array:
        """All images of all rows; shape (|G|, n, d)."""
        return np.stack([self.moved(points, move) for move in self.moves])

    def averaged(self, features: Callable[[Points], Array]) -> Callable[[Points], Array]:
        """The mean of features(g·x) over the group: what critics of invariant data look at."""

        def average(points: Points) -> Array:
            total = features(self.moved(points, self.moves[0]))
            for move in self.moves[1:]:
                total = total + features(self.moved(points, move))
            return total / self.size

        return average

    def mean(self, values: Array) -> Array:
        """The mean over the group of a vector: of the means of the columns."""
        made = values.copy()
        columns = list(self.columns)
        made[columns] = 0.0 if self.kind in ("flip", "rot90") else values[columns].mean()
        return made

    def mean_square(self, values: Array) -> Array:
        """The mean over the group of squares, which know no sign."""
        made = values.copy()
        if self.kind != "flip":
            made[list(self.columns)] = values[list(self.columns)].mean()
        return made

    def among(self, columns: NDArray[np.intp]) -> "Group | None":
        """The same group where column c is the old columns[c]; none if it moves none of these."""
        place = {int(old): new for new, old in enumerate(columns)}
        kept = tuple(place[c] for c in self.columns if c in place)
        return Group(self.kind, kept) if kept else None

    def canonical(self, points: Points) -> Points:
        """One row of each orbit, always the same one, from a fundamental domain.

        perm: the columns sorted. flip: their absolute values. In these two the distance of two
        representatives is the shortest distance of their orbits. cyclic: the lexicographically
        largest shift. rot90: the turn with x_i > 0 and x_j ≥ 0. These two domains have borders, where
        orbits that are near can have representatives that are not.
        """
        block = points[:, self.columns]
        if self.kind == "perm":
            return self._with(points, np.sort(block, axis=1))
        if self.kind == "flip":
            return self._with(points, np.abs(block))
        if self.kind == "cyclic":
            return self._with(points, _largest_shift(block))
        first, second = block.T
        turns = np.select(
            [(first <= 0) & (second > 0), (first < 0) & (second <= 0), (first >= 0) & (second < 0)],
            [3, 2, 1],
            0,
        )
        return self._with(points, self._by_row(block, turns))

    def scattered(self, points: Points, rng: "np.random.Generator") -> Points:
        """Every row moved by an element of its own, drawn uniformly."""
        block = points[:, self.columns]
        if self.kind == "perm":
            return self._with(points, rng.permuted(block, axis=1))
        if self.kind == "flip":
            return self._with(points, block * rng.choice([-1.0, 1.0], block.shape))
        return self._with(points, self._by_row(block, rng.integers(self.size, size=len(block))))

    def _by_row(self, block: Array, which: NDArray[np.intp]) -> Array:
        orders = np.array([order for order, _ in self.moves])[which]
        signs = np.array([signs for _, signs in self.moves], dtype=float)[which]
        return np.take_along_axis(block, orders, axis=1) * signs

    def _with(self, points: Points, block: Array) -> Points:
        made = points.copy()
        made[:, self.columns] = block + 0.0  # no negative zero
        return made


def inverse(move: Move) -> Move:
    """g⁻¹ of a signed permutation."""
    order, signs = move
    back = sorted(range(len(order)), key=order.__getitem__)
    return tuple(back), tuple(signs[c] for c in back)


def _largest_shift(block: Array) -> Array:
    """The lexicographically largest cyclic shift of every row."""
    best = block.copy()
    rows = np.arange(len(block))
    for shift in range(1, block.shape[1]):
        other = np.roll(block, -shift, axis=1)
        first = np.argmax(other != best, axis=1)
        larger = other[rows, first] > best[rows, first]
        best[larger] = other[larger]
    return best


def group_of(samples: Samples, text: str) -> Group:
    """The group, its columns found by name, position, range or glob, in the order given."""
    kind, _, wanted = text.partition(":")
    columns = positions(samples, wanted, f"--invariant {text}")
    if kind == "rot90" and len(columns) != 2:
        raise SettingError(f"--invariant {text}: names {len(columns)} columns, expected two")
    return Group(kind, columns)


def positions(samples: Samples, wanted: str, where: str) -> tuple[int, ...]:
    """Where the named columns are, in the order given; a plain array's are called 0, 1, ..."""
    labels = samples.columns or tuple(str(c) for c in range(samples.d))
    kinds = dict.fromkeys(labels, "num")
    pieces = [piece.replace("\0", ",") for piece in wanted.replace("\\,", "\0").split(",")]
    if not any(piece.strip() for piece in pieces):
        raise SettingError(f"{where}: names no column")
    found: dict[int, None] = {}
    for piece in filter(None, (piece.strip() for piece in pieces)):
        for name in chosen(piece, kinds, where)[0]:
            found[labels.index(name)] = None
    return tuple(found)


def represented(samples: Samples, text: str | None) -> Samples:
    """The sample with each row replaced by its orbit's representative: see `Group.canonical`.

    A divergence of invariant distributions is that of their representatives.
    """
    if text is None:
        return samples

    def made() -> Samples:
        points = group_of(samples, text).canonical(samples.points)
        return Samples(points, samples.weights, samples.name, samples.columns, samples.origin)

    return samples.once(("represented", text), made)


def _invariance_p(samples: Samples, text: str) -> float:
    group = group_of(samples, text)
    return samples.once(("invariance", text), lambda: invariance_p(samples, group))


def invariance_p(samples: Samples, group: Group) -> float:
    """p-value of invariance: MMD²(P, mean of g·P) against rows moved at random.

    If P is invariant, rows moved by independent random elements are as likely as the rows
    themselves, so p = (1 + #{S_b >= S}) / (B + 1) is exact, with S = Σ_{i≠j} k(xᵢ, xⱼ), which is the
    squared MMD up to what no move changes. Stops as soon as p cannot be small.
    """
    points, weights = samples.points, samples.masses()
    rng = stream(0, "invariance", group.kind)
    keep = np.flatnonzero(weights > 0)
    if len(keep) > CHECKED_ROWS:
        keep = np.sort(rng.choice(keep, CHECKED_ROWS, replace=False))
    points, weights = points[keep], weights[keep]
    try:
        scale = median_distance(np.concatenate([points, group.scattered(points, rng)]), "")[0]
    except InconclusiveError:  # all rows are one row that no element moves
        return 1.0
    profile = Profile("gaussian", scale)

    def closeness(rows: Points) -> float:
        return float(weights @ self_sums(profile, rows, weights))

    bar = closeness(points) * (1 - 1e-12)
    as_close = 0
    for _ in range(CHECKS):
        as_close += closeness(group.scattered(points, rng)) >= bar
        if 1 + as_close > ALARM * (CHECKS + 1):
            return (1 + as_close) / (CHECKS + 1)
    return (1 + as_close) / (CHECKS + 1)
