"""Groups of columns of one sample: which columns `--x` and `--y` name, and their distances."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from divmatch.columns import chosen
from divmatch.errors import SettingError
from divmatch.estimators import distance_moments as moments
from divmatch.record import Note
from divmatch.samples import Samples
from divmatch.settings import Setting

X = Annotated[
    str | None,
    Setting("columns of the first group, by name or position", long=True, shown="COLS", parse=str),
]
Y = Annotated[
    str | None,
    Setting(
        "columns of the other group; given several times, one group each",
        long=True,
        shown="COLS",
        repeated=True,
        parse=str,
    ),
]


@dataclass(frozen=True)
class Groups:
    """The groups of columns, as positions and as text."""

    columns: tuple[tuple[int, ...], ...]
    x: str
    y: str


def groups_of(
    sample: Samples, x: str | None, y: str | None, form: str = "pair", command: str = "dcor"
) -> Groups:
    """The columns of every group; a pair has two groups, whatever y names."""
    labels = sample.columns or tuple(map(str, range(sample.d)))
    if x is None and y is None and sample.d != 2:
        raise SettingError(
            f"{command}: give --x and --y, {sample.name} has {sample.d} columns and not just two"
        )
    first = None if x is None else named(x, labels, sample.name)
    others = [] if y is None else [named(part, labels, sample.name) for part in y.split(";")]
    if first is None:
        first = (0,) if y is None else _rest(others, labels, f"{command}: --y")
    if not others:
        others = [_rest([first], labels, f"{command}: --x")]
    if form == "pair":
        others = [tuple(sorted({column for group in others for column in group}))]
    for k, group in enumerate([first, *others]):
        shared = sorted(set(group) & {c for other in [first, *others][:k] for c in other})
        if shared:
            raise SettingError(f"{command}: column '{labels[shared[0]]}' is in two groups")
    texts = [",".join(labels[c].replace(",", "\\,") for c in group) for group in [first, *others]]
    return Groups((first, *others), x or texts[0], y or ";".join(texts[1:]))


def named(pattern: str, labels: Sequence[str], where: str) -> tuple[int, ...]:
    """The columns that a pattern names: a category or a list stands for all of its columns."""
    members: dict[str, list[int]] = {}
    for position, label in enumerate(labels):
        members.setdefault(label, []).append(position)
    for position, label in enumerate(labels):
        for mark in ("=", "["):
            if mark in label and label.partition(mark)[0] not in labels:
                members.setdefault(label.partition(mark)[0], []).append(position)
    names, _ = chosen(pattern, dict.fromkeys(members, "num"), where)
    return tuple(sorted({position for name in names for position in members[name]}))


def _rest(groups: Sequence[tuple[int, ...]], labels: Sequence[str], flag: str) -> tuple[int, ...]:
    taken = {column for group in groups for column in group}
    left = tuple(c for c in range(len(labels)) if c not in taken)
    if not left:
        raise SettingError(f"{flag} names every column; no other group is left")
    return left


def distances_of(sample: Samples, group: tuple[int, ...]) -> moments.Distances:
    """The sums of one group, computed once for a sample."""

    def compute() -> moments.Distances:
        points = np.ascontiguousarray(sample.points[:, list(group)])
        return moments.distances(points, sample.masses())

    return sample.once(("distances", group), compute)


def covariance_of(
    sample: Samples, one: tuple[int, ...], other: tuple[int, ...], unbiased: bool
) -> moments.Covariance:
    """dCov² of two groups, computed once for a sample; of one with itself, its distance variance."""

    def compute() -> moments.Covariance:
        left, right = distances_of(sample, one), distances_of(sample, other)
        return moments.covariance(left, right, sample.masses(), unbiased=unbiased)

    return sample.once(("dcov", one, other, unbiased), compute)


def constant_groups(sample: Samples, groups: Groups) -> tuple[Note, ...]:
    """A warning where a group does not vary, and so depends on nothing."""
    labels = sample.columns or tuple(map(str, range(sample.d)))
    for group in groups.columns:
        if distances_of(sample, group).constant:
            return (_constant(labels, group),)
    return ()


def constant_columns(
    sample: Samples, groups: Groups, parts: Sequence[NDArray[np.float64]]
) -> tuple[Note, ...]:
    """The same warning, from the rows that count: the ``parts`` of each group."""
    labels = sample.columns or tuple(map(str, range(sample.d)))
    for group, rows in zip(groups.columns, parts, strict=True):
        if (rows == rows[0]).all():
            return (_constant(labels, group),)
    return ()


def _constant(labels: Sequence[str], group: tuple[int, ...]) -> Note:
    names = ", ".join(f"'{labels[c]}'" for c in group[:3])
    return Note("W33", f"{names} is the same in all rows: it depends on nothing")
