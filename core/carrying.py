"""Carrying: what was made of some rows, written beside the other columns of their file as Parquet."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import FileError
from divmatch.files import open_place
from divmatch.passing import replaced
from divmatch.places import locate
from divmatch.sources import Source, load_arrow

BATCH = 1 << 16
STREAM = "stdin"


def check_free(path: str, name: str) -> None:
    """Refuse a new column whose name the file has already."""
    place = locate(path)
    if place.kind == STREAM:
        return
    opened = open_place(place, None)
    if isinstance(opened, Source) and name in opened.types:
        raise FileError(
            f"{path}: has a column '{name}' already, which the output would hide; rename it, or write .npy"
        )


def carried(
    path: str,
    columns: Mapping[str, NDArray[Any]],
    *,
    rows: NDArray[np.intp] | None = None,
    hidden: tuple[str, ...] = (),
    more: Mapping[str, NDArray[Any]] | None = None,
) -> bytes:
    """The file's columns with these in addition, or in the place of those of the same name.

    Parameters
    ----------
    path : str
        The input that the rows come from. Columns of a plain array are named by position; of standard
        input, which is gone, only the new columns are written.
    columns : mapping
        One value a row of the file, or a row of ``rows``.
    rows : ndarray, optional
        The rows of the file that stay, in this order; all if not given.
    hidden : tuple of str
        Columns of the file that are left out.
    more : mapping, optional
        Rows below those of the file; columns that it does not name are missing there.

    Returns
    -------
    bytes
        A Parquet file.
    """
    arrow = load_arrow(path)
    from pyarrow import parquet

    table = _table(path, arrow)
    if table is not None and rows is not None:
        table = table.take(arrow.array(rows))
    if table is None:
        new = {name: arrow.array(np.ascontiguousarray(values)) for name, values in columns.items()}
        made = arrow.table(new)
    else:
        kept = table.drop_columns([name for name in hidden if name in table.column_names])
        made = replaced(kept, columns)
    if more is not None:
        below = arrow.table({name: arrow.array(values) for name, values in more.items()})
        made = arrow.concat_tables([made, below], promote_options="permissive")
    sink = arrow.BufferOutputStream()
    parquet.write_table(made, sink)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _table(path: str, arrow: Any) -> Any:
    """All columns of the file, None where it cannot be read again."""
    place = locate(path)
    if place.kind == STREAM:
        return None
    opened = open_place(place, None)
    if isinstance(opened, Source):
        names = list(opened.types)
        return arrow.Table.from_batches(
            list(opened.batches(names, BATCH)),
            schema=arrow.schema([(name, opened.types[name]) for name in names]),
        )
    block = opened[:, None] if opened.ndim == 1 else opened
    return arrow.table({str(k): np.ascontiguousarray(block[:, k]) for k in range(block.shape[1])})
