"""Matrices too large for the memory: rows handed out in blocks, straight from the file."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.columns import chosen, shortlist
from divmatch.decoding import fill_lists, numbers_of, widths_of
from divmatch.errors import FileError, SampleError, counted
from divmatch.files import open_place, picked_column
from divmatch.places import Place, locate
from divmatch.sources import Source, kind_of

Block = NDArray[Any]
Load = Callable[
    [], Block
]  # called where the block is worked on, which is where a mapped file is read


@dataclass(frozen=True, eq=False)
class Matrix:
    """An (n, K) matrix in a file. ``blocks(size)`` goes through it once, ``size`` rows at a time.

    ``aside`` are columns that were asked for beside the matrix: (n,) each.
    """

    name: str
    kind: str
    rows: int
    classes: int
    bits: int  # of a number; whole numbers count as 64
    blocks: Callable[[int], Iterator[Load]]
    aside: dict[str, NDArray[np.float64]]
    plain: bool = False  # an array, whose columns have no names


def open_matrix(
    path: str,
    *,
    columns: str | None = None,
    aside: Sequence[str] = (),
    stdin_format: str | None = None,
) -> Matrix:
    """Open an input as a matrix of numbers; nothing but headings and ``aside`` is read.

    Parameters
    ----------
    path : str
        .npy (mapped block by block), .npz::key, a list column (file.parquet::column, or the only
        one) or all columns of a table. One-dimensional arrays are one row, and of more than two
        dimensions all but the last count rows.
    columns : str, optional
        Which columns of a table, as ``--columns``; all columns of an array are classes.
    aside : sequence of str
        Columns that are no part of the matrix, where a table has them.
    stdin_format : str, optional
        What standard input holds, where its first bytes do not tell.

    Returns
    -------
    Matrix
        To be gone through once or more often; standard input is kept.

    Raises
    ------
    FileError, SampleError
        One line each.
    """
    place = locate(path)
    opened = open_place(place, stdin_format)
    if isinstance(opened, Source):
        made = _of_columns(opened, place, columns, aside)
    else:
        made = _of_array(opened, place)
    if made.rows == 0 or made.classes == 0:
        raise SampleError(f"{place.name}: is empty ({made.rows} x {made.classes} numbers)")
    return made


def open_vector(path: str, rows: int, whose: str) -> NDArray[Any]:
    """One number for each row of a matrix, from a .npy or .npz::key file of any shape."""
    place = locate(path)
    opened = open_place(place, None)
    size = -1 if isinstance(opened, Source) else opened.size
    if isinstance(opened, Source) or size != rows:
        found = "no array" if size < 0 else counted(size, "number")
        raise FileError(
            f"{path}: holds {found}, but {whose} has {counted(rows, 'row')}; give one a row"
        )
    return opened.reshape(-1)


# -------------------------------------------------------------------------------------- arrays


def _of_array(array: NDArray[Any], place: Place) -> Matrix:
    if array.ndim == 0:
        raise FileError(f"{place.name}: has shape (), expected rows of classes")
    classes = array.shape[-1]
    rows = array.size // classes if classes else 0
    bits = 8 * array.dtype.itemsize if array.dtype.kind == "f" else 64
    mapped = array if isinstance(array, np.memmap) else array.base
    if isinstance(mapped, np.memmap) and array.flags.c_contiguous:
        source = _MappedFile(place.paths[0], array.dtype, int(mapped.offset), classes)
        return Matrix(place.name, place.kind, rows, classes, bits, source.over(rows), {}, True)
    whole = np.ascontiguousarray(array).reshape(rows, classes)

    def blocks(size: int) -> Iterator[Load]:
        for start in range(0, rows, size):
            yield partial(np.ndarray.__getitem__, whole, slice(start, start + size))

    return Matrix(place.name, place.kind, rows, classes, bits, blocks, {}, True)


@dataclass(frozen=True)
class _MappedFile:
    """Each block is mapped by itself, so that what was read does not count as ours any more."""

    path: str
    dtype: np.dtype[Any]
    offset: int
    classes: int

    def over(self, rows: int) -> Callable[[int], Iterator[Load]]:
        def blocks(size: int) -> Iterator[Load]:
            for start in range(0, rows, size):
                yield partial(self.load, start, min(size, rows - start))

        return blocks

    def load(self, start: int, rows: int) -> Block:
        place = self.offset + start * self.classes * self.dtype.itemsize
        mapped = np.memmap(self.path, self.dtype, "c", place, (rows, self.classes))
        return np.asarray(mapped)


# ------------------------------------------------------------------------------------- columns


def _of_columns(source: Source, place: Place, columns: str | None, aside: Sequence[str]) -> Matrix:
    kinds = {name: kind_of(type_) for name, type_ in source.types.items()}
    aside = [name for name in aside if name in kinds]
    for name in aside:
        if kinds[name] != "num":
            raise FileError(f"{place.name}: column '{name}' holds {source.types[name]}, no numbers")
    selector = picked_column(source, place, kinds)
    known = {name: kind for name, kind in kinds.items() if name not in aside}
    names = [selector] if selector is not None else chosen(columns, known, place.name)[0]
    lists = [name for name in names if kinds[name] == "list"]
    if selector is None and columns is None and len(lists) == 1:
        names = lists  # the only list column is the matrix, whatever stands beside it
    wrong = [name for name in names if kinds[name] not in ("num", "list")]
    if wrong or (lists and len(names) > 1):
        what = f"column '{wrong[0]}' holds no numbers" if wrong else f"lists {shortlist(lists)}"
        raise FileError(
            f"{place.name}: {what}; pick one list column with ::NAME, or columns with --columns"
        )
    classes = widths_of(source, lists)[lists[0]] if lists else len(names)
    bits = max(_bits(source.types[name]) for name in names)
    kind = np.float32 if bits <= 32 else np.float64

    def part(batch: Any, start: int) -> Block:
        block = np.empty((len(batch), classes), dtype=kind)
        if lists:
            where = f"{place.name}: column '{lists[0]}'"
            fill_lists(batch.column(lists[0]), block, None, start, where)
        else:
            for k, name in enumerate(names):
                block[:, k] = numbers_of(batch.column(name))
        return block

    def blocks(size: int) -> Iterator[Load]:
        for block in _of_size(source.batches(names, size), part, size):
            yield partial(np.asarray, block)

    return Matrix(place.name, place.kind, source.rows, classes, bits, blocks, _aside(source, aside))


def _bits(type_: Any) -> int:
    """The width of floating numbers; others count as wide."""
    type_ = getattr(type_, "storage_type", type_)
    type_ = getattr(type_, "value_type", type_)
    return int(type_.bit_width) if str(type_) in ("halffloat", "float") else 64


def _of_size(batches: Iterator[Any], part: Callable[[Any, int], Block], size: int) -> Iterator[Block]:  # fmt: skip  # noqa: E501
    """Blocks of exactly ``size`` rows from batches of any length, the last one shorter."""
    held: list[Block] = []
    have = start = 0
    for batch in batches:
        block = part(batch, start)
        start += len(block)
        while have + len(block) >= size:
            cut = size - have
            yield np.concatenate([*held, block[:cut]]) if held else block[:cut]
            held, have, block = [], 0, block[cut:]
        if len(block):
            held.append(block)
            have += len(block)
    if held:
        yield np.concatenate(held)


def _aside(source: Source, names: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    found: dict[str, list[NDArray[np.float64]]] = {name: [] for name in names}
    for batch in source.batches(list(names), 1 << 16) if names else ():
        for name in names:
            found[name].append(numbers_of(batch.column(name)))
    return {name: np.concatenate(parts) for name, parts in found.items()}
