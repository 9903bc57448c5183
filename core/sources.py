"""Sources: columns that pyarrow hands over batch by batch, whatever kind of file they are in."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import FileError
from divmatch.places import damage


@dataclass(frozen=True)
class Source:
    """Columns that pyarrow can hand over batch by batch."""

    types: dict[str, Any]
    rows: int
    batches: Callable[[list[str], int], Iterator[Any]]  # names, rows a batch
    from_array: bool = False  # '::' has already picked the array
    guessed: bool = False  # types are what the cells look like, nobody declared them


def load_arrow(name: str) -> Any:
    """Load pyarrow: only tables need it, and it takes longer than a small job."""
    try:
        import pyarrow
    except ImportError:
        raise FileError(f"{name}: needs pyarrow to be read; pip install pyarrow") from None
    return pyarrow


def types_of(schema: Any) -> dict[str, Any]:
    """The type of every column; a name may stand for one column only."""
    twice = [name for name, count in Counter(schema.names).items() if count > 1]
    if twice:
        raise FileError(f"column '{twice[0]}' appears twice; rename one of them")
    return {field.name: field.type for field in schema}


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Put the file in front of an error that knows only the column."""
    try:
        yield
    except FileError as error:
        raise FileError(f"{name}: {error}") from None


def kind_of(type_: Any) -> str:
    """Num, list, cat, or other for what is neither a number nor a category."""
    from pyarrow import types

    if isinstance(type_, load_arrow("").BaseExtensionType):
        return kind_of(type_.storage_type)
    numeric = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal)
    if any(test(type_) for test in (*numeric, types.is_null)):
        return "num"
    lists = (types.is_list, types.is_large_list, types.is_fixed_size_list)
    if any(test(type_) for test in lists) and kind_of(type_.value_type) == "num":
        return "list"
    if types.is_dictionary(type_):
        return "cat" if kind_of(type_.value_type) in ("cat", "num") else "other"
    texts = (types.is_string, types.is_large_string, types.is_string_view)
    return "cat" if any(test(type_) for test in texts) else "other"


def in_memory(table: Any) -> Source:
    """A table that is in memory already."""
    names = table.column_names

    def batches(wanted: list[str], size: int) -> Iterator[Any]:
        part = table.select([names.index(name) for name in wanted])
        yield from part.to_batches(max_chunksize=size)

    return Source(types_of(table.schema), table.num_rows, batches)


def columns_of(array: NDArray[Any], name: str) -> Source:
    """Fields of a structured array, or columns of text, as table columns."""
    kind = array.dtype.kind
    if kind not in "USV" or (kind == "V" and not array.dtype.names):
        raise FileError(f"{name}: holds {array.dtype} values, not numbers; convert them first")
    if array.ndim > 2 or array.ndim == 0 or (kind == "V" and array.ndim != 1):
        raise FileError(f"{name}: has shape {array.shape}, expected rows and columns")
    if array.dtype.names:
        fields = {field: array[field] for field in array.dtype.names}
    else:
        block = array.reshape(len(array), -1)
        fields = {str(k): block[:, k] for k in range(block.shape[1])}
    arrow = load_arrow(name)
    with damage(name, ".npy"):
        table = arrow.table({key: _arrow_of(v, arrow) for key, v in fields.items()})
    return replace(in_memory(table), from_array=True)


def _arrow_of(values: NDArray[Any], arrow: Any) -> Any:
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8")
    values = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("="))
    if values.ndim == 1:
        return arrow.array(values)
    flat = arrow.array(values.reshape(-1))
    return arrow.FixedSizeListArray.from_arrays(flat, int(np.prod(values.shape[1:])))
