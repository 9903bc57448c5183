"""Decoding: columns that arrive in batches become the arrays of a table, made once."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import FileError, at_row, counted
from divmatch.places import Place, damage
from divmatch.samples import EXACT, rounds
from divmatch.sources import Source, kind_of, load_arrow
from divmatch.tables import Column, Table, labels_of

BATCH_BYTES = 4 << 20  # decoded numbers in flight while a file is streamed


def filled(
    source: Source,
    place: Place,
    names: list[str],
    picked: NDArray[np.int64] | None,
    beside: Iterable[str] = (),
    check_words: Callable[[str, Iterable[str]], None] | None = None,
) -> tuple[Table, dict[str, NDArray[np.float64]]]:
    """Stream the columns into arrays made once; weights and such come for all rows, for their check.

    ``check_words`` gets the name and the words of each categorical column, of all rows too.
    """
    columns = headings(source, place.name, names)
    labels = labels_of(columns)
    rows = source.rows if picked is None else len(picked)
    numbers = np.empty((rows, len(labels)))
    codes = np.empty((rows, sum(column.kind == "cat" for column in columns)), dtype=np.int32)
    words: list[dict[str, int]] = [{} for _ in range(codes.shape[1])]
    others = {name: np.empty(source.rows) for name in beside}
    rounded = dict.fromkeys(names, False)
    start = filled = 0
    wanted = list(dict.fromkeys([*names, *others]))
    size = max(64, min(1 << 16, BATCH_BYTES // (8 * max(1, len(labels)))))
    for batch in source.batches(wanted, size) if wanted else ():
        if start + len(batch) > source.rows:
            raise FileError(f"{place.name}: holds more rows than it promises; write it anew")
        for name, values in others.items():
            values[start : start + len(batch)] = numbers_of(batch.column(name))
        here, part = None, batch
        if picked is not None:
            low, high = np.searchsorted(picked, [start, start + len(batch)])
            here = picked[low:high]
            part = batch.take(load_arrow(place.name).array(here - start))
        stop = filled + len(part)
        number = code = 0
        for column in columns:
            values = part.column(column.name)
            if column.kind == "cat":
                with damage(place.name, f"text in column '{column.name}'"):
                    if check_words is not None and here is not None:
                        every = _codes(batch.column(column.name), words[code])
                        codes[filled:stop, code] = every[here - start]
                    else:
                        codes[filled:stop, code] = _codes(values, words[code])
                code += 1
                continue
            rounded[column.name] |= _rounds(values)
            into = numbers[filled:stop, number : number + column.width]
            if column.kind == "list":
                fill_lists(values, into, here, start, f"{place.name}: column '{column.name}'")
            else:
                into[:, 0] = numbers_of(values)
            number += column.width
        start, filled = start + len(batch), stop
    if wanted and filled != rows:
        raise FileError(
            f"{place.name}: promises {counted(rows, 'row')}, but holds {filled}; write it anew"
        )
    categories = [column.name for column in columns if column.kind == "cat"]
    if check_words is not None:
        for name, found in zip(categories, words, strict=True):
            check_words(name, found)
    known = iter(range(len(words)))
    columns = [
        replace(column, words=_sorted_words(codes, k, words[k]))
        if column.kind == "cat" and (k := next(known)) >= 0
        else column
        for column in columns
    ]
    table = Table(
        place.name,
        place.kind,
        source.rows,
        tuple(columns),
        labels,
        numbers,
        codes,
        picked=picked,
        rounded=tuple(name for name in names if rounded[name]),
    )
    return table, others


def headings(source: Source, where: str, names: Sequence[str]) -> list[Column]:
    """Name, kind and type of the columns; the width of a list is that of its first row."""
    kinds: Any = {name: kind_of(source.types[name]) for name in names}
    lists = [name for name in names if kinds[name] == "list"]
    widths = dict.fromkeys(names, 1) | widths_of(source, lists)
    return [Column(n, kinds[n], widths[n], type=str(source.types[n])) for n in names]


def widths_of(source: Source, names: list[str]) -> dict[str, int]:
    """How many numbers a list of each column holds: as in the first row that has one."""
    widths: dict[str, int] = {}
    for name in names:
        type_ = getattr(source.types[name], "storage_type", source.types[name])
        if hasattr(type_, "list_size"):
            widths[name] = type_.list_size
    unknown = [name for name in names if name not in widths]
    for batch in source.batches(unknown, 1024) if unknown else ():
        for name in unknown:
            lengths = batch.column(name).value_lengths().drop_null()
            if name not in widths and len(lengths):
                widths[name] = lengths[0].as_py()
        if len(widths) == len(names):
            break
    return {name: widths.get(name, 0) for name in names}


def numbers_of(values: Any) -> NDArray[np.float64]:
    """Any numeric column as float64, null as NaN."""
    values = getattr(values, "storage", values)
    found: NDArray[np.float64] = values.cast("float64", safe=False).to_numpy(zero_copy_only=False)
    return found


def _rounds(values: Any) -> bool:
    """Whether whole numbers lose digits as float64; min and max settle nearly all columns."""
    from pyarrow import compute, types

    values = getattr(values, "storage", values)
    if hasattr(values, "value_lengths"):
        values = values.flatten()
    if not (types.is_int64(values.type) or types.is_uint64(values.type)):
        return False
    ends = compute.min_max(values)
    low, high = ends["min"].as_py(), ends["max"].as_py()
    if low is None or (low >= -EXACT and high <= EXACT):
        return False
    return rounds(values.drop_null().to_numpy(zero_copy_only=False))


def fill_lists(
    values: Any, into: NDArray[Any], picked: NDArray[Any] | None, start: int, where: str
) -> None:
    """Write a list column into its (n, w) block; a missing list is a row of NaN."""
    values = getattr(values, "storage", values)
    width = into.shape[1]
    lengths = values.value_lengths().to_numpy(zero_copy_only=False)
    there = np.isfinite(lengths.astype(float))
    ragged = np.flatnonzero(there & (lengths != width))
    if len(ragged):
        row = int(ragged[0]) + start if picked is None else int(picked[ragged[0]])
        raise FileError(
            f"{where} has {counted(int(lengths[ragged[0]]), 'number')} {at_row(row)}, expected {width} as in "
            f"the first row; leave it out or make the lists equally long"
        )
    if not width:  # no list holds anything
        return
    into[~there] = np.nan
    # flatten() leaves out missing lists and honours slices; .values does neither.
    into[there] = numbers_of(values.flatten()).reshape(-1, width)


def _codes(values: Any, words: dict[str, int]) -> NDArray[np.int32]:
    """Codes of a text or dictionary column; new words are added to the vocabulary."""
    if not hasattr(values, "dictionary"):
        values = values.dictionary_encode()
    own = values.dictionary.to_pylist()
    place = [-1 if w is None else words.setdefault(str(w), len(words)) for w in own]
    indices = values.indices.fill_null(len(own)).to_numpy(zero_copy_only=False)
    codes: NDArray[np.int32] = np.array([*place, -1], dtype=np.int32)[indices]
    return codes


def _sorted_words(codes: NDArray[np.int32], k: int, words: dict[str, int]) -> tuple[str, ...]:
    """Recode one column to the sorted words that occur in it."""
    occurring = np.bincount(codes[:, k] + 1, minlength=len(words) + 1)[1:] > 0
    kept = sorted(word for word, code in words.items() if occurring[code])
    recode = np.full(len(words) + 1, -1, dtype=np.int32)
    for new, word in enumerate(kept):
        recode[words[word]] = new
    codes[:, k] = recode[codes[:, k]]
    return tuple(kept)
