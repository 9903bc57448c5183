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
    rows = source.rows if picked is None else len(picked)
    arrays = _Arrays(place.name, headings(source, place.name, names), rows)
    others = {name: np.empty(source.rows) for name in beside}
    start = 0
    wanted = list(dict.fromkeys([*names, *others]))
    size = max(64, min(1 << 16, BATCH_BYTES // (8 * max(1, len(arrays.labels)))))
    for batch in source.batches(wanted, size) if wanted else ():
        stop = start + len(batch)
        if stop > source.rows:
            raise FileError(f"{place.name}: holds more rows than it promises; write it anew")
        for name, values in others.items():
            values[start:stop] = numbers_of(batch.column(name))
        here = None
        if picked is not None:
            low, high = np.searchsorted(picked, [start, stop])
            here = picked[low:high]
        arrays.add(batch, here, start, every_word=check_words is not None)
        start = stop
    if wanted and arrays.filled != rows:
        raise FileError(
            f"{place.name}: promises {counted(rows, 'row')}, but holds {arrays.filled}; write it anew"
        )
    if check_words is not None:
        for name, found in arrays.words.items():
            check_words(name, found)
    return arrays.table(place, source.rows, picked), others


class _Arrays:
    """The arrays of a table while its rows come in."""

    def __init__(self, where: str, columns: list[Column], rows: int) -> None:
        self.where, self.columns, self.labels = where, columns, labels_of(columns)
        categories = [column.name for column in columns if column.kind == "cat"]
        self.numbers = np.empty((rows, len(self.labels)))
        self.codes = np.empty((rows, len(categories)), dtype=np.int32)
        self.words: dict[str, dict[str, int]] = {name: {} for name in categories}
        self.rounded: set[str] = set()
        self.filled = 0

    def add(
        self, batch: Any, picked: NDArray[np.int64] | None, start: int, *, every_word: bool
    ) -> None:
        """Decode the picked rows of a batch that starts at row ``start``; words of all rows if asked."""
        here = None if picked is None else picked - start
        part = batch if here is None else batch.take(load_arrow(self.where).array(here))
        into = slice(self.filled, self.filled + len(part))
        number = code = 0
        for column in self.columns:
            name, values = column.name, part.column(column.name)
            if column.kind == "cat":
                with damage(self.where, f"text in column '{name}'"):
                    if every_word and here is not None:
                        codes = _codes(batch.column(name), self.words[name])[here]
                    else:
                        codes = _codes(values, self.words[name])
                self.codes[into, code] = codes
                code += 1
                continue
            if _rounds(values):
                self.rounded.add(name)
            block = self.numbers[into, number : number + column.width]
            if column.kind == "list":
                fill_lists(values, block, picked, start, f"{self.where}: column '{name}'")
            else:
                block[:, 0] = numbers_of(values)
            number += column.width
        self.filled = into.stop

    def table(self, place: Place, rows: int, picked: NDArray[np.int64] | None) -> Table:
        """The table of what came in, its words sorted."""
        words = {
            name: _sorted_words(self.codes, k, found)
            for k, (name, found) in enumerate(self.words.items())
        }
        return Table(
            place.name,
            place.kind,
            rows,
            tuple(replace(column, words=words.get(column.name, ())) for column in self.columns),
            self.labels,
            self.numbers,
            self.codes,
            picked=picked,
            rounded=tuple(c.name for c in self.columns if c.name in self.rounded),
        )


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
