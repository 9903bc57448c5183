"""Files: every way that rows come in; a damaged file gets one line, never a traceback."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from divmatch.arrays import load_array
from divmatch.columns import called_categories, chosen, no_value, not_found, shortlist
from divmatch.decoding import filled
from divmatch.errors import FileError, SampleError, counted, plural
from divmatch.ndjson import ndjson_source
from divmatch.parquet import parquet_bytes, parquet_source
from divmatch.places import (
    Place,
    check_readable,
    check_stream,
    damage,
    files_from,
    locate,
    names_file,
    sniffed,
    standard_input,
    whole,
)
from divmatch.samples import as_weights, rounds
from divmatch.sources import Source, columns_of, kind_of, load_arrow
from divmatch.summaries import duplicates, summaries
from divmatch.tables import Column, Reading, Table
from divmatch.text import refuse_numbers, text_source

__all__ = ["check_readable", "describe", "files_from", "parquet_bytes", "read_table"]

WEIGHT, LOG_DENSITY = "weight", "log-density"  # what may go with the rows, as messages call it


def read_table(path: str, reading: Reading, *, role: str = "p") -> Table:
    """Read one input into a table.

    Parameters
    ----------
    path : str
        A file, a folder or quoted glob of Parquet parts, ``-`` for standard input; ``::selector``
        picks an array of an .npz file or one column.
    reading : Reading
        Which columns, which rows, which weights.
    role : str
        ``p`` or ``ref`` for the reference, ``q`` or ``sample`` for a candidate: it decides between
        ``weights_p`` and ``weights_q``, and the two draw different rows when sampled. ``train``
        has neither, and draws rows of its own.

    Returns
    -------
    Table
        Unscaled; arrays stay mapped to their file.

    Raises
    ------
    FileError, SampleError
        One line each.
    """
    place = locate(path)
    opened = open_place(place, reading.stdin_format)
    if isinstance(opened, Source):
        table = _from_columns(opened, place, reading, role)
    else:
        table = _from_array(opened, place, reading, role)
    _check_something(table)
    return table


@dataclass(frozen=True, eq=False)
class Parts:
    """An input that is opened once and read some columns at a time."""

    name: str
    kind: str
    rows: int
    names: tuple[str, ...]  # what --columns keeps
    unmatched: tuple[str, ...]  # its exclusions that met no column
    by_position: bool  # a plain array, or a column picked by the user: names mean nothing
    many: bool  # a part costs only its own columns
    read: Callable[[Sequence[str]], Table]


def read_parts(path: str, reading: Reading, *, role: str = "p") -> Parts:
    """Open one input and choose its columns; their values are read part by part."""
    place = locate(path)
    opened = open_place(place, reading.stdin_format)
    unmatched: tuple[str, ...] = ()
    if isinstance(opened, Source):
        kinds = {name: kind_of(type_) for name, type_ in opened.types.items()}
        picked = picked_column(opened, place, kinds)
        if picked is None:
            names, unmatched = chosen(reading.columns, kinds, place.name)
        else:
            names = [picked]
        for name in names:
            _refuse_other(opened, place, name, kinds)
        rows, by_position, many = opened.rows, picked is not None, place.kind == "parquet"
    else:
        _check_table(opened, place)
        width = opened.shape[1] if opened.ndim == 2 else 1
        kinds = {str(k): "num" for k in range(width)}
        names, unmatched = chosen(reading.columns, kinds, place.name)
        rows, by_position, many = len(opened), True, True

    def read(only: Sequence[str]) -> Table:
        if isinstance(opened, Source):
            table = _from_columns(opened, place, reading, role, only)
        else:
            table = _from_array(opened, place, reading, role, only)
        if not len(table.numbers):
            raise SampleError(f"{table.name}: is empty (0 rows); at least one is needed")
        return table

    return Parts(place.name, place.kind, rows, tuple(names), unmatched, by_position, many, read)


def _refuse_other(source: Source, place: Place, name: str, kinds: Mapping[str, str]) -> None:
    if kinds[name] == "other":
        raise FileError(
            f"{place.name}: column '{name}' holds {source.types[name]}, neither numbers nor "
            f"categories; leave it out with --columns '!{name}'"
        )


def _check_something(table: Table) -> None:
    """Refuse tables without a row, without a column, or with a column of empty lists."""
    if not len(table.numbers):
        raise SampleError(f"{table.name}: is empty (0 rows); at least one is needed")
    for column in table.columns:
        if column.width == 0 and not table.plain:
            raise SampleError(no_value(table.name, column.name, table.rows))
    if table.numbers.shape[1] + table.codes.shape[1] == 0:
        besides = f" besides the weights '{table.weights_from}'" if table.weights_from else ""
        raise SampleError(f"{table.name}: has no column{besides}; at least one is needed")


def describe(path: str, stdin_format: str | None = None) -> dict[str, Any]:
    """Describe a file: rows, duplicates, and for each column its type and range.

    Parameters
    ----------
    path : str
        Any input that ``read_table`` takes.
    stdin_format : str, optional
        What standard input holds, where its first bytes do not tell.

    Returns
    -------
    dict
        ``name``, ``kind``, ``rows``, ``duplicates`` (rows equal to an earlier one) and ``columns``,
        each with ``name``, ``type``, ``kind`` and, by kind, ``missing``, ``min``, ``mean``, ``max``
        or ``distinct``, ``most_frequent``; numbers have ``infinite`` too. Of columns of other types
        only ``missing`` is known, None where pyarrow cannot decode them.
    """
    place = locate(path)
    opened = open_place(place, stdin_format)
    others: list[dict[str, Any]] = []
    if isinstance(opened, Source):
        kinds = {name: kind_of(type_) for name, type_ in opened.types.items()}
        selector = picked_column(opened, place, kinds)
        names = list(kinds) if selector is None else [selector]
        unreadable = [name for name in names if kinds[name] == "other"]
        missing = _missing(opened, unreadable)
        others = [
            {"name": name, "type": str(opened.types[name]), "kind": "other", "missing": count}
            for name, count in zip(unreadable, missing, strict=True)
        ]
        readable = [name for name in names if kinds[name] != "other"]
        table, _ = filled(opened, place, readable, None)
    else:
        table = _from_array(opened, place, Reading(), "p")
    return {
        "name": place.name,
        "kind": place.kind,
        "rows": table.rows,
        "duplicates": duplicates(table),
        "columns": [*summaries(table), *others],
    }


def _missing(source: Source, names: list[str]) -> list[int | None]:
    """How many values of columns of any type are missing."""
    counts = dict.fromkeys(names, 0)
    try:
        for batch in source.batches(names, 1 << 12) if names else ():
            for name in names:
                counts[name] += batch.column(name).null_count
    except FileError:
        return [None] * len(names)
    return list(counts.values())


def open_place(place: Place, stdin_format: str | None) -> NDArray[Any] | Source:
    """Open a place: an array, or columns in batches."""
    kind = place.kind
    source: str | BytesIO = place.paths[0] if place.paths else ""
    if kind == "stdin":
        with damage(place.name, "a stream"):
            data = standard_input() if source == "-" else whole(place.paths[0])
        if not data:
            raise FileError(f"{place.name}: is empty (0 bytes); nothing was piped in")
        kind, source = stdin_format or sniffed(data), BytesIO(data)
        check_stream(place.name, data, kind)
    if kind in ("npy", "npz"):
        array = load_array(place, kind, source)
        return array if array.dtype.kind in "biuf" else columns_of(array, place.name)
    load_arrow(place.name)
    if kind == "parquet":
        return parquet_source(place, list(place.paths) if isinstance(source, str) else [source])
    if kind == "ndjson":
        return ndjson_source(place, source)
    return text_source(place, kind, source)


def _check_table(array: NDArray[Any], place: Place) -> None:
    if array.ndim not in (1, 2):
        raise FileError(f"{place.name}: has shape {array.shape}, expected rows and columns")


def _from_array(
    array: NDArray[Any],
    place: Place,
    reading: Reading,
    role: str,
    only: Sequence[str] | None = None,
) -> Table:
    """Make a table of a plain array; copy only where rows or columns are left out."""
    _check_table(array, place)
    block = array[:, None] if array.ndim == 1 else array
    rows = len(block)
    picked = _picked(rows, reading, role)
    known = [str(k) for k in range(block.shape[1])]
    if only is not None:  # before any row is copied
        known = list(only)
        block = block[:, [int(name) for name in known]]
        reading = replace(reading, columns=None)
    beside, hidden = _beside(reading, role, known, place.name)
    read = {k: block[:, known.index(k)].astype(np.float64) for k in beside.values() if k in known}
    block = block if picked is None else block[picked]
    table = Table(
        place.name,
        place.kind,
        rows,
        (Column("", "list", block.shape[1], type=str(array.dtype)),),
        tuple(known),
        block,
        np.empty((len(block), 0), dtype=np.int32),
        plain=True,
        picked=picked,
    )
    table = _narrowed(table, reading, hidden)
    return _with_beside(replace(table, rounded=_rounded(table)), beside, read)


def _rounded(table: Table) -> tuple[str, ...]:
    """The columns of a plain array whose whole numbers float64 cannot hold."""
    if table.numbers.dtype.kind not in "iu" or table.numbers.dtype.itemsize < 8:
        return ()
    columns = zip(table.labels, table.numbers.T, strict=True)
    return tuple(label for label, column in columns if rounds(column))


def _narrowed(table: Table, reading: Reading, hidden: set[str]) -> Table:
    """Keep the columns of a plain array that ``--columns`` names by position."""
    if reading.columns is None and not hidden:
        return table
    kinds = {name: "num" for name in table.labels if name not in hidden}
    names, unmatched = chosen(reading.columns, kinds, table.name)
    column = replace(table.columns[0], width=len(names))
    keep = [table.labels.index(name) for name in names]
    return replace(
        table,
        columns=(column,),
        labels=tuple(names),
        numbers=table.numbers if len(keep) == len(table.labels) else table.numbers[:, keep],
        unmatched=unmatched,
    )


def _from_columns(
    source: Source,
    place: Place,
    reading: Reading,
    role: str,
    only: Sequence[str] | None = None,
) -> Table:
    """Choose columns of a table and read only those."""
    kinds = {name: kind_of(type_) for name, type_ in source.types.items()}
    if not kinds:
        raise SampleError(f"{place.name}: has no column; at least one is needed")
    beside, hidden = _beside(reading, role, list(kinds), place.name)
    known, selector = kinds, picked_column(source, place, kinds)
    if selector is not None:
        known, hidden = {selector: kinds[selector]}, set()
    listed = selector is not None and kinds[selector] == "list"
    visible = {name: kind for name, kind in known.items() if name not in hidden}
    names, unmatched = chosen(None if listed else reading.columns, visible, place.name)
    names = names if only is None else [name for name in names if name in only]
    no_data = {name: plural(noun) for noun, name in beside.items() if name in kinds}
    for name in [*names, *no_data]:
        if name in names:
            _refuse_other(source, place, name, kinds)
        if name in no_data and kinds[name] != "num":
            raise FileError(
                f"{place.name}: column '{name}' holds {source.types[name]}, no {no_data[name]}"
            )
    picked = _picked(source.rows, reading, role)
    said = called_categories(reading.columns, names)

    def check_words(name: str, words: Iterable[str]) -> None:
        if name not in said:
            refuse_numbers(source, place.name, name, words)

    check = check_words if source.guessed else None
    table, read = filled(source, place, names, picked, no_data, check)
    table = replace(table, selected=selector is not None, unmatched=unmatched)
    if listed:
        labels = tuple(str(k) for k in range(len(table.labels)))
        column = replace(table.columns[0], name="")
        table = replace(table, columns=(column,), labels=labels, plain=True)
        table = _narrowed(table, reading, set())
    return _with_beside(table, beside, read)


def picked_column(source: Source, place: Place, kinds: dict[str, str]) -> str | None:
    """Check the column picked by ``file::column``, if one is."""
    if source.from_array or place.selector is None:
        return None
    if place.selector not in kinds:
        raise FileError(f"{place.name}: {not_found(place.selector, kinds)}")
    return place.selector


def _picked(rows: int, reading: Reading, role: str) -> NDArray[np.int64] | None:
    """Draw the rows that ``--sample`` keeps, in order; one stream for each role."""
    wanted = reading.sampled(rows)
    if wanted >= rows:
        return None
    side = {"p": "p", "ref": "p", "train": "train"}.get(role, "q")
    rng = np.random.default_rng([reading.seed, crc32(f"sample {side}".encode())])
    return np.sort(rng.choice(rows, wanted, replace=False, shuffle=False)).astype(np.int64)


def _beside(
    reading: Reading, role: str, known: Sequence[str], where: str
) -> tuple[dict[str, str], set[str]]:
    """Where the numbers that go with the rows are, and the columns that are no data because of it.

    Each is a column of this file or, unless the files share it, a file of its own.
    """
    own = {"p": reading.weights_p, "ref": reading.weights_p, "train": None}
    weights, log_q = own.get(role, reading.weights_q), reading.log_q
    beside, hidden = {}, set[str]()
    if given := weights or reading.weights:
        if given not in known and not (weights and names_file(weights)):
            raise FileError(f"{where}: weights: {not_found(given, known)}")
        beside[WEIGHT], hidden = given, {given, reading.weights or given}
    if log_q is not None:
        if log_q not in known and not names_file(log_q):
            raise FileError(f"{where}: --log-q: {not_found(log_q, known)}")
        beside[LOG_DENSITY] = log_q
        hidden.add(log_q)
    return beside, hidden & set(known)


def _with_beside(
    table: Table, beside: Mapping[str, str], read: Mapping[str, NDArray[np.float64]]
) -> Table:
    """Add what goes with the rows, from columns already read or from files of their own."""
    for noun, given in beside.items():
        values = read[given] if given in read else _numbers_in(given, noun)
        if len(values) != table.rows:
            raise FileError(
                f"{given}: holds {counted(len(values), noun)}, but {table.name} has "
                f"{counted(table.rows, 'row')}; give one a row"
            )
        if noun == WEIGHT:
            where = f"{table.name}: column '{given}'" if given in read else given
            values = _checked_weights(values, where)
        kept = values if table.picked is None else values[table.picked]
        if noun == WEIGHT:
            table = replace(table, weights=kept, weights_from=given)
        else:
            table = replace(table, beside={"log_q": kept})
    return table


def _checked_weights(weights: NDArray[np.float64], where: str) -> NDArray[np.float64]:
    """Weights of all rows, which may not be those that are kept; their sum must not overflow."""
    with np.errstate(over="ignore"):
        as_weights(weights, len(weights), where)
        return weights if np.isfinite(weights.sum()) else weights / weights.max()


def _numbers_in(given: str, noun: str) -> NDArray[np.float64]:
    """Numbers in a file of their own: an array, or the only or the picked column of a table."""
    place = locate(given)
    loaded = open_place(place, None)
    if not isinstance(loaded, Source):
        return np.array(loaded, dtype=np.float64).reshape(-1)
    kinds = {name: kind_of(type_) for name, type_ in loaded.types.items()}
    name = picked_column(loaded, place, kinds) or (next(iter(kinds)) if len(kinds) == 1 else None)
    if name is None:
        raise FileError(
            f"{given}: holds {counted(len(kinds), 'column')}; pick the one with the {plural(noun)}, "
            f"{given}::COLUMN with COLUMN one of {shortlist(kinds)}"
        )
    if kinds[name] != "num":
        raise FileError(f"{given}: column '{name}' holds {loaded.types[name]}, no {plural(noun)}")
    return filled(loaded, place, [], None, [name])[1][name]
