"""Passing: a file goes through in blocks of rows, some of its columns changed, the others as they are.

Nothing here keeps more than a block, so that Parquet of any size passes in bounded memory.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from divmatch.columns import chosen, not_found, shortlist
from divmatch.decoding import fill_lists, headings, numbers_of
from divmatch.errors import FileError, SampleError, counted
from divmatch.files import open_place, picked_column
from divmatch.places import Place, damage, locate
from divmatch.sources import Source, kind_of, load_arrow
from divmatch.tables import Column, labels_of

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Block:
    """Rows of the file from ``start`` on: their numbers (k, d), and all columns as an Arrow table."""

    start: int
    points: Array
    table: Any
    places: NDArray[np.intp] | None = None  # of the rows that were kept, from ``start`` on

    def kept(self, rows: NDArray[np.bool_]) -> "Block":
        """Some of the rows."""
        mask = load_arrow("").array(rows)
        return Block(self.start, self.points[rows], self.table.filter(mask), np.flatnonzero(rows))

    def number(self, row: int) -> int:
        """Which row of the file one of these rows is."""
        return self.start + (row if self.places is None else int(self.places[row]))


@dataclass(frozen=True, eq=False)
class Passage:
    """A file opened to pass through: its name, kind, rows, and the columns that are looked at."""

    name: str
    kind: str
    rows: int
    labels: tuple[str, ...]
    width: int  # numbers of a row, of all columns
    blocks: Callable[[int], Iterator[Block]]


def open_passage(
    path: str, wanted: Sequence[str], *, columns: str | None = None, stdin_format: str | None = None
) -> Passage:
    """Open a file of which the ``wanted`` columns are looked at.

    Parameters
    ----------
    path : str
        Any input; Parquet is read in blocks.
    wanted : sequence of str
        Names of columns, ``name[k]`` for the k-th number of a list; positions of a plain array. A table
        is searched for names, in any order. By position go plain arrays of as many columns, single
        list columns (``file::column``), and tables where all names are positions: their columns of numbers.
    columns : str, optional
        Which columns of a table go by position.
    stdin_format : str, optional
        What standard input holds, where its first bytes do not tell.

    Raises
    ------
    FileError, SampleError
        One line: what is wrong, and what to do.
    """
    place = locate(path)
    opened = open_place(place, stdin_format)
    if isinstance(opened, Source):
        return _of_table(opened, place, tuple(wanted), columns)
    if columns is not None:
        raise FileError(
            f"{place.name}: is a plain array, whose columns go by position; drop --columns"
        )
    return _of_array(opened, place, tuple(wanted))


def _of_array(array: NDArray[Any], place: Place, wanted: tuple[str, ...]) -> Passage:
    if array.ndim not in (1, 2):
        raise FileError(f"{place.name}: has shape {array.shape}, expected rows and columns")
    block = array[:, None] if array.ndim == 1 else array
    known = [str(k) for k in range(block.shape[1])]
    if set(wanted) <= set(known):
        picked = [known.index(name) for name in wanted]
    elif len(wanted) == len(known):
        picked = list(range(len(known)))
    else:
        raise SampleError(
            f"{place.name}: has {counted(len(known), 'column')}, expected {len(wanted)}: {shortlist(wanted)}"
        )

    def blocks(size: int) -> Iterator[Block]:
        for start in range(0, len(block), size):
            part = block[start : start + size]
            points = np.ascontiguousarray(part[:, picked], dtype=np.float64)
            yield Block(start, points, _LazyTable(part, known))

    return Passage(
        place.name, place.kind, len(block), tuple(known[k] for k in picked), len(known), blocks
    )


class _LazyTable:
    """Columns of an array as a table, made only where they are written as one."""

    def __init__(self, block: NDArray[Any], names: list[str]) -> None:
        self.block, self.names = block, names

    def filter(self, mask: Any) -> "_LazyTable":
        return _LazyTable(self.block[mask.to_numpy(zero_copy_only=False)], self.names)

    def made(self) -> Any:
        arrow = load_arrow("")
        return arrow.table(
            {name: np.ascontiguousarray(self.block[:, k]) for k, name in enumerate(self.names)}
        )


def _of_table(
    source: Source, place: Place, wanted: tuple[str, ...], pattern: str | None
) -> Passage:
    kinds = {name: kind_of(type_) for name, type_ in source.types.items()}
    found = _looked_at(source, place, wanted, pattern, kinds)
    labels = labels_of(found)
    names = list(source.types)
    needed = [column.name for column in found]

    def blocks(size: int) -> Iterator[Block]:
        start = 0
        for table in _even(source.batches(names, size), source.types, size, place.name):
            points = _numbers(table.select(needed), found, start, place.name)
            yield Block(start, points, table)
            start += len(table)

    return Passage(place.name, place.kind, source.rows, labels, len(names) + len(labels), blocks)


def _looked_at(
    source: Source,
    place: Place,
    wanted: tuple[str, ...],
    pattern: str | None,
    kinds: dict[str, str],
) -> list[Column]:
    """The columns that the numbers come from, and refuse what lacks some, or holds no numbers."""
    selector = picked_column(source, place, kinds)
    kinds = kinds if selector is None else {selector: kinds[selector]}
    by_position = selector is not None or wanted == tuple(map(str, range(len(wanted))))
    if pattern is not None and not by_position:
        raise FileError(f"--columns: the map names its columns, {shortlist(wanted)}; drop it")
    owners = [name if name in kinds else name.rpartition("[")[0] for name in wanted]
    lost = [name for name, owner in zip(wanted, owners, strict=True) if owner not in kinds]
    if lost and by_position:
        names = [selector] if selector is not None else chosen(pattern, kinds, place.name)[0]
        numeric = [name for name in names if kinds[name] in ("num", "list")]
        found = headings(source, place.name, numeric)
        if len(labels_of(found)) != len(wanted):
            raise SampleError(
                f"{place.name}: has {counted(len(labels_of(found)), 'number')} a row, expected "
                f"{len(wanted)} as the map was fitted to; choose them with --columns"
            )
        return found
    if lost:
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        raise FileError(f"{place.name}: {not_found(lost[0], kinds)}{more}")
    for owner in owners:
        if kinds[owner] not in ("num", "list"):
            raise FileError(
                f"{place.name}: column '{owner}' holds {source.types[owner]}, expected numbers"
            )
    found = headings(source, place.name, list(dict.fromkeys(owners)))
    for column in found:
        own = [name for name, owner in zip(wanted, owners, strict=True) if owner == column.name]
        if labels_of([column]) != tuple(own):
            raise FileError(
                f"{place.name}: column '{column.name}' holds {column.type} of {column.width} a row, expected "
                f"{shortlist(own)} as the map was fitted to"
            )
    return found


def _even(batches: Iterator[Any], types: dict[str, Any], size: int, where: str) -> Iterator[Any]:
    """The same rows in tables of ``size`` and of the types of the first part, whatever the batches are."""
    arrow = load_arrow(where)
    schema, waiting, held = arrow.schema(list(types.items())), list[Any](), 0
    for batch in batches:
        part = arrow.Table.from_batches([batch])
        with damage(where, "one table"):
            waiting.append(part if part.schema.equals(schema) else part.cast(schema))
        held += len(batch)
        if held >= size:
            whole, cut = arrow.concat_tables(waiting), held // size * size
            for start in range(0, cut, size):
                yield whole.slice(start, size)
            waiting, held = [whole.slice(cut)], held - cut
    if held:
        yield arrow.concat_tables(waiting)


def _numbers(table: Any, columns: Sequence[Column], start: int, where: str) -> Array:
    """The numbers of a block, (k, d); missing ones are NaN."""
    made = np.empty((len(table), sum(column.width for column in columns)))
    place = 0
    for column in columns:
        values = table.column(column.name).combine_chunks()
        into = made[:, place : place + column.width]
        if column.kind == "list":
            fill_lists(values, into, None, start, f"{where}: column '{column.name}'")
        else:
            into[:, 0] = numbers_of(values)
        place += column.width
    return made


# ---------------------------------------------------------------------------------------- writing


def replaced(table: Any, columns: Mapping[str, NDArray[Any]]) -> Any:
    """A table with these in the place of columns of the same name; new names come last.

    Names ``emb[0]``, ``emb[1]`` to the last number of a list column ``emb`` become that column again.
    """
    arrow = load_arrow("")
    left = dict(columns)
    for name, type_ in zip(table.schema.names, table.schema.types, strict=True):
        own = [f"{name}[{k}]" for k in range(sum(c.startswith(f"{name}[") for c in left))]
        if own and kind_of(type_) == "list" and all(c in left for c in own):
            flat = np.stack([left.pop(c) for c in own], axis=1)
            values = arrow.FixedSizeListArray.from_arrays(arrow.array(flat.ravel()), len(own))
            if not hasattr(getattr(type_, "storage_type", type_), "list_size"):
                values = values.cast(arrow.list_(arrow.float64()))
            table = table.set_column(table.column_names.index(name), name, values)
    for name, values in left.items():
        column = arrow.array(np.ascontiguousarray(values))
        if name in table.column_names:
            table = table.set_column(table.column_names.index(name), name, column)
        else:
            table = table.append_column(name, column)
    return table


@contextmanager
def array_writer(file: BinaryIO, rows: int, width: int) -> Iterator[Callable[[Block, Array], None]]:
    """Write an .npy file block by block; where there are fewer rows its header is put right."""
    done = 0

    def head() -> dict[str, Any]:
        return {"descr": "<f8", "fortran_order": False, "shape": (done, width)}

    np.lib.format.write_array_header_1_0(file, {**head(), "shape": (rows, width)})
    after = file.tell() if file.seekable() else None

    def write(_: Block, points: Array) -> None:
        nonlocal done
        done += len(points)
        file.write(np.ascontiguousarray(points, dtype="<f8").data)

    yield write
    if done != rows:
        file.seek(0)
        np.lib.format.write_array_header_1_0(file, head())
        if file.tell() != after:  # its padding leaves room for as many digits
            raise FileError("the header of an array has grown; write .parquet")


@contextmanager
def table_writer(file: BinaryIO, names: Sequence[str]) -> Iterator[Callable[[Block, Array], None]]:
    """Write a Parquet file block by block: all columns of the file, these changed."""
    arrow = load_arrow("parquet")
    from pyarrow import parquet

    writer: Any = None

    def write(block: Block, points: Array) -> None:
        nonlocal writer
        table = block.table.made() if isinstance(block.table, _LazyTable) else block.table
        made = replaced(table, dict(zip(names, points.T, strict=True)))
        if writer is None:
            plain = arrow.schema([(f.name, f.type) for f in made.schema])
            writer = parquet.ParquetWriter(file, plain)
        writer.write_table(made.cast(writer.schema) if made.schema != writer.schema else made)

    try:
        yield write
    finally:
        if writer is not None:
            writer.close()
