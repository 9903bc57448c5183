"""Matching: the columns of a table brought into the order of the reference."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from divmatch.columns import shortlist
from divmatch.errors import SampleError, counted
from divmatch.samples import Points, Weights
from divmatch.tables import Column, Table


@dataclass(eq=False)
class Rows:
    """One table on its way: numbers in the order of the reference, the rows that stay."""

    table: Table
    numbers: Points
    holes: NDArray[np.bool_] | None
    codes: NDArray[np.int32]
    words: list[tuple[str, ...]]
    weights: Weights | None
    dropped: dict[str, int]
    notes: list[tuple[str, str]] = field(default_factory=list)
    beside: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    places: NDArray[np.int64] | None = None  # where in the file the rows are, if not all are here

    @property
    def masses(self) -> Weights:
        """The weight of every row, 1/n each where none were given."""
        n = len(self.numbers)
        return np.full(n, 1 / n) if self.weights is None else self.weights


def aligned(
    table: Table, heading: Table, categorical: str
) -> tuple[slice | list[int], list[int] | None]:
    """Where the columns of the reference are in this table: its numbers, then its categories."""
    if categorical == "error" and table.categories:
        name = table.categories[0].name
        raise SampleError(
            f"{table.name}: column '{name}' holds categories, not numbers; choose --categorical "
            f"onehot, or leave it out with --columns '!{name}'"
        )
    if table.plain or heading.plain or (table.selected and heading.selected):
        _check_counts(table, heading)
        return slice(None), None
    own = {column.name: column for column in table.columns}
    _check_names(table.name, own, heading)
    if list(own) == [column.name for column in heading.columns]:
        return slice(None), None
    starts, position = {}, 0
    for column in table.columns:
        starts[column.name] = position
        position += column.width if column.kind != "cat" else 0
    numbers = [
        starts[column.name] + k
        for column in heading.columns
        if column.kind != "cat"
        for k in range(column.width)
    ]
    order = [column.name for column in table.categories]
    return numbers, [order.index(column.name) for column in heading.categories]


def _check_counts(table: Table, heading: Table) -> None:
    """Plain arrays and single picked columns need only as many columns of the same kind."""
    if len(table.categories) != len(heading.categories):
        texts, numbers = (table, heading) if table.categories else (heading, table)
        name = texts.categories[0].name
        raise SampleError(
            f"{texts.name}: column '{name}' holds categories, but {numbers.name} holds only "
            f"numbers; leave it out with --columns '!{name}'"
        )
    if len(table.labels) != len(heading.labels):
        raise SampleError(
            f"{heading.name} has {counted(len(heading.labels), 'column')}, {table.name} has "
            f"{len(table.labels)}; both need the same"
        )


def _check_names(where: str, own: Mapping[str, Column], heading: Table) -> None:
    """Tables need the same names, and under each name the same kind."""
    lost = [column.name for column in heading.columns if column.name not in own]
    new = [name for name in own if name not in heading.names]
    if lost or new:
        parts = [f"lacks {shortlist(lost)}"] if lost else []
        parts += [f"has {shortlist(new)} in addition"] if new else []
        raise SampleError(
            f"{where}: {' and '.join(parts)}, compared with {heading.name}; both need the same "
            "columns, choose them with --columns"
        )
    words = {"num": "numbers", "list": "lists of numbers", "cat": "categories"}
    for column in heading.columns:
        found = own[column.name]
        if found.kind != column.kind and "null" in (found.type, column.type):
            blank, other = (where, heading.name) if found.type == "null" else (heading.name, where)
            raise SampleError(
                f"{blank}: column '{column.name}' has no value at all, so nothing to compare with "
                f"{other}; leave it out with --columns '!{column.name}'"
            )
        if found.kind != column.kind:
            raise SampleError(
                f"{where}: column '{column.name}' holds {words[found.kind]}, but "
                f"{words[column.kind]} in {heading.name}; convert one of them, or leave it out "
                f"with --columns '!{column.name}'"
            )
        if found.width != column.width:
            raise SampleError(
                f"{where}: column '{column.name}' has {counted(found.width, 'number')} a row, but "
                f"{column.width} in {heading.name}; both need the same"
            )
