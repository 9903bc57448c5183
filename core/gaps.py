"""Gaps: missing and infinite values are found, named and refused here."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from divmatch.columns import no_value, shortlist
from divmatch.errors import GapError, SampleError, at_row, counted
from divmatch.matching import Rows
from divmatch.samples import Points
from divmatch.tables import Table


def holes_of(points: Points, table: Table, labels: Sequence[str]) -> NDArray[np.bool_] | None:
    """Where numbers are missing, None if nowhere; infinite values are refused."""
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(points.sum()):  # one pass and no temporary when all is well
            return None
    infinite = np.isinf(points)
    if infinite.any():
        column = int(np.flatnonzero(infinite.any(axis=0))[0])
        rows = np.flatnonzero(infinite[:, column])
        raise SampleError(
            f"{table.name}: column '{labels[column]}' has {counted(len(rows), 'infinite value')}, first "
            f"{at_row(table.row(int(rows[0])))}; correct or remove these rows"
        )
    holes = np.isnan(points)
    return holes if holes.any() else None


def refuse_gaps(
    table: Table, holes: NDArray[np.bool_] | None, codes: NDArray[np.int32], heading: Table
) -> None:
    """Name the first column with missing values."""
    names = [column.name for column in heading.categories]
    for missing, labels, way in (
        (holes, heading.labels, "mean"),
        (codes < 0, names, "category"),
    ):
        if missing is None or not missing.any():
            continue
        column = int(np.flatnonzero(missing.any(axis=0))[0])
        rows = np.flatnonzero(missing[:, column])
        raise GapError(
            f"{table.name}: column '{labels[column]}' has {counted(len(rows), 'missing value')}, first "
            f"{at_row(table.row(int(rows[0])))}",
            ("drop", way),
        )


def refuse_blank(
    table: Table, holes: NDArray[np.bool_] | None, codes: NDArray[np.int32], heading: Table
) -> None:
    """Name the first column without any value: no way to treat gaps gives it one."""
    names = owners(heading)
    for missing, owner in (
        (holes, names),
        (codes < 0, [column.name for column in heading.categories]),
    ):
        if missing is not None and missing.all(axis=0).any():
            blank = int(np.flatnonzero(missing.all(axis=0))[0])
            raise SampleError(no_value(table.name, owner[blank], len(codes)))


def owners(heading: Table) -> list[str]:
    """The column that each number of a row belongs to; positions for a plain array."""
    if heading.plain:
        return list(heading.labels)
    return [c.name for c in heading.columns if c.kind != "cat" for _ in range(c.width)]


def fill_note(rows: Rows, heading: Table, *, categories: bool) -> list[tuple[str, str]]:
    """Say how many values of which columns the means of the reference stand for."""
    count, names = 0, list[str]()
    if rows.holes is not None:
        count += int(rows.holes.sum())
        where = owners(heading)
        names += [where[j] for j in np.flatnonzero(rows.holes.any(axis=0))]
    blank = rows.codes < 0
    if categories:
        count += int(blank.sum())
        names += [heading.categories[k].name for k in np.flatnonzero(blank.any(axis=0))]
    if not count:
        return []
    names = list(dict.fromkeys(names))
    return [
        (
            "W22",
            f"{counted(count, 'missing value')} in column{'s' if len(names) > 1 else ''} "
            f"{shortlist(names)} of {rows.table.name} replaced by the mean of the reference",
        )
    ]


def rounding_note(table: Table) -> list[tuple[str, str]]:
    """Say which columns hold whole numbers that float64 does not tell apart."""
    if not table.rounded:
        return []
    many = len(table.rounded) > 1
    return [
        (
            "W26",
            f"column{'s' if many else ''} {shortlist(table.rounded)} of {table.name} "
            f"hold{'' if many else 's'} whole numbers beyond 2^53, which were rounded",
        )
    ]


def means_of(rows: Rows) -> Points:
    """Means of the values that are there, NaN where there are none."""
    means: Points = rows.masses @ rows.numbers
    if rows.holes is not None:
        masses = np.where(rows.holes, 0.0, rows.masses[:, None])
        values = np.where(rows.holes, 0.0, rows.numbers)
        with np.errstate(invalid="ignore"):
            means = np.einsum("ij,ij->j", masses, values) / masses.sum(axis=0)
    return means
