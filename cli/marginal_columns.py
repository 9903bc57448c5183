"""The columns of two tables, opened once, matched, read in parts and measured."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.cli.session import Session
from divmatch.columns import shortlist
from divmatch.errors import FileError, SampleError, counted
from divmatch.estimators.marginals import Found, Pair, categories, measure, numbers
from divmatch.files import Parts, read_parts
from divmatch.kernels.execution import execution, in_order
from divmatch.tables import Column, Table

PART_BYTES = 64 << 20  # numbers of both tables that are held at once


@dataclass(frozen=True, eq=False)
class Marginal:
    """What was found in one column."""

    label: str
    kind: str
    present: tuple[int, int]  # values that are there
    missing: tuple[int, int]
    found: Mapping[str, Found]

    @property
    def rows(self) -> tuple[int, int]:
        """All rows of P and Q."""
        return self.present[0] + self.missing[0], self.present[1] + self.missing[1]


@dataclass(eq=False)
class Input:
    """One of the two tables: opened once, read in parts, with the digest of what was read."""

    path: str
    session: Session
    role: str
    parts: Parts = field(init=False)

    def __post_init__(self) -> None:
        self.parts = read_parts(self.path, self.session.reading(), role=self.role)
        self.used, self.columns = 0, 0
        self.digest = blake2b(digest_size=8) if self.session.needs_inputs() else None

    def read(self, names: Sequence[str]) -> Table:
        """Some columns."""
        table = self.parts.read(names)
        self.used = len(table.numbers)
        self.columns += len(table.labels) + len(table.categories)
        if self.digest is not None:
            for name in names:  # one by one: what is read at once depends on the memory
                self.digest.update(repr(column_of(table, name)).encode())
                self.digest.update(np.ascontiguousarray(table.values(name), "<f8").data)
        return table

    def described(self) -> dict[str, Any]:
        """The input of the record."""
        known = {"role": self.role, "name": self.parts.name}
        if self.digest is None:
            return known
        return known | {
            "kind": self.parts.kind,
            "rows": self.parts.rows,
            "cols": self.columns,
            "rows_used": self.used,
            "dropped": {},
            "weights": None,
            "ess": None,
            "fingerprint": f"blake2b:{self.digest.hexdigest()}",
        }


def matched(p: Parts, q: Parts) -> list[tuple[str, str]]:
    """The columns of P with their partners: by name, or by position where names mean nothing."""
    for name in p.unmatched:
        if name in q.unmatched:
            raise FileError(f"{p.name}, {q.name}: excluded column '{name}' not found")
    if p.by_position or q.by_position:
        if len(p.names) != len(q.names):
            raise SampleError(
                f"{p.name} has {counted(len(p.names), 'column')}, {q.name} has {len(q.names)}; both "
                "need the same"
            )
        return list(zip(p.names, q.names, strict=True))
    own = set(q.names)
    lost = [name for name in p.names if name not in own]
    new = [name for name in q.names if name not in set(p.names)]
    if lost or new:
        said = [f"lacks {shortlist(lost)}"] if lost else []
        said += [f"has {shortlist(new)} in addition"] if new else []
        raise SampleError(
            f"{q.name}: {' and '.join(said)}, compared with {p.name}; both need the same columns, "
            "choose them with --columns"
        )
    return [(name, name) for name in p.names]


def parts_of(
    names: list[tuple[str, str]], inputs: Sequence[Parts]
) -> Iterator[list[tuple[str, str]]]:
    """Columns that are read at once: as many as fit, or all where every part costs the whole file."""
    width = len(names)
    if all(one.many for one in inputs):
        room = min(execution().memory // 4, PART_BYTES)
        width = max(1, room // (8 * max(1, sum(one.rows for one in inputs))))
    for start in range(0, len(names), width):
        yield names[start : start + width]


def measured(
    inputs: Sequence[Input], part: list[tuple[str, str]], wanted: tuple[str, ...], bins: int
) -> list[Marginal]:
    """The statistics of some columns, on the threads in force."""
    p, q = (
        one.read([names[side] for names in part]) for side, one in zip((0, 1), inputs, strict=True)
    )

    def one(job: tuple[str, Callable[[], Pair]]) -> Marginal:
        label, make = job
        pair = make()
        kind = "category" if pair.categories else "number"
        return Marginal(label, kind, pair.present, pair.missing, measure(pair, wanted, bins))

    jobs = [job for names in part for job in pairs(p, q, *names)]
    return list(in_order(one, jobs, work=30.0 * len(jobs) * (len(p.numbers) + len(q.numbers))))


def pairs(p: Table, q: Table, name_p: str, name_q: str) -> Iterator[tuple[str, Callable[[], Pair]]]:
    """A column of both tables; a list column is as many as it has numbers."""
    of_p, of_q = column_of(p, name_p), column_of(q, name_q)
    if of_p.kind != of_q.kind and "null" not in (of_p.type, of_q.type):
        kinds = {"num": "numbers", "list": "lists of numbers", "cat": "categories"}
        raise SampleError(
            f"{q.name}: column '{name_q}' holds {kinds[of_q.kind]}, but {kinds[of_p.kind]} in "
            f"{p.name}; convert one of them, or leave it out with --columns '!{name_q}'"
        )
    if "cat" in (of_p.kind, of_q.kind):
        yield name_p, partial(categories, *coded(p, of_p, name_p), *coded(q, of_q, name_q))
        return
    x, y = block_of(p, of_p, name_p), block_of(q, of_q, name_q)
    if "null" in (of_p.type, of_q.type):  # no value at all stands for a list of any length
        wide = max(x.shape[1], y.shape[1])
        x, y = (np.broadcast_to(b, (len(b), wide)) if b.shape[1] == 1 else b for b in (x, y))
    if x.shape[1] != y.shape[1]:
        raise SampleError(
            f"{q.name}: column '{name_q}' has {counted(y.shape[1], 'number')} a row, but "
            f"{x.shape[1]} in {p.name}; both need the same"
        )
    for k in range(x.shape[1]):
        label = f"{name_p}[{k}]" if "list" in (of_p.kind, of_q.kind) else name_p
        yield label, partial(numbers_of, p, q, label, x[:, k], y[:, k])


def column_of(table: Table, name: str) -> Column:
    """The column of this name; one of numbers for a plain array."""
    if table.plain:
        return Column(name, "num", type=table.columns[0].type)
    return next(column for column in table.columns if column.name == name)


def block_of(table: Table, column: Column, name: str) -> NDArray[Any]:
    """Its numbers, (n, 1) or (n, w)."""
    values = table.values(name)
    return values.reshape(len(values), -1)


def coded(table: Table, column: Column, name: str) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Its codes and words; no word where it has no value at all."""
    if column.kind == "cat":
        return table.values(name), column.words
    return np.full(len(table.numbers), -1, dtype=np.int32), ()


def numbers_of(p: Table, q: Table, label: str, x: NDArray[Any], y: NDArray[Any]) -> Pair:
    """A pair of columns of numbers."""
    return numbers(finite(p, label, x), finite(q, label, y))


def finite(table: Table, label: str, values: NDArray[Any]) -> NDArray[Any]:
    """Numbers and gaps; infinite values are refused."""
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(values.sum()):
            return values
    if np.isinf(values).any():
        row = table.row(int(np.flatnonzero(np.isinf(values))[0]))
        raise SampleError(
            f"{table.name}: column '{label}' has {counted(int(np.isinf(values).sum()), 'infinite value')}, "
            f"first at row {row} (from 0); correct or remove these rows"
        )
    return values
