"""Keys: a column that says which rows belong together, of any type that can be told apart."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.columns import not_found, shortlist
from divmatch.errors import FileError, at_row
from divmatch.files import open_place
from divmatch.places import locate
from divmatch.sources import Source, kind_of, load_arrow


def read_keys(path: str, column: str | None, stdin_format: str | None = None) -> NDArray[Any]:
    """Read what stands in a column of every row: numbers as they are, anything else as text.

    Parameters
    ----------
    path : str
        Any input, ``::selector`` picks an array of an .npz file or one column.
    column : str, optional
        A name, or a position for plain arrays; without it the only column.
    stdin_format : str, optional
        What standard input holds.

    Returns
    -------
    array of shape (n,)
        Of all rows of the file.

    Raises
    ------
    FileError
        If there is no such column, or a row has nothing in it.
    """
    place = locate(path)
    opened = open_place(place, stdin_format)
    if isinstance(opened, Source):
        kinds = {name: kind_of(type_) for name, type_ in opened.types.items()}
        selector = None if opened.from_array else place.selector
        name = _named(column or selector, list(kinds), place.name)
        if kinds[name] == "list":
            raise FileError(f"{place.name}: column '{name}' holds lists, expected one value a row")
        values, missing = _values(opened, name, place.name, number=kinds[name] == "num")
    else:
        block = opened.reshape(len(opened), -1) if opened.ndim else opened.reshape(1, 1)
        known = [str(k) for k in range(block.shape[1])]
        name = _named(column, known, place.name)
        values = np.array(block[:, int(name)])
        missing = np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), bool)
    if missing.any():
        where = at_row(int(np.argmax(missing)))
        raise FileError(f"{place.name}: column '{name}' has no value {where}")
    return values


def _named(column: str | None, known: list[str], where: str) -> str:
    if column is None and len(known) != 1:
        raise FileError(
            f"{where}: holds {len(known)} columns, expected one; pick it with FILE::COLUMN, COLUMN one of "
            f"{shortlist(known)}"
        )
    if column is not None and column not in known:
        raise FileError(f"{where}: {not_found(column, known)}")
    return known[0] if column is None else column


def _values(
    source: Source, name: str, where: str, *, number: bool
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """One column, and where it is missing."""
    arrow = load_arrow(where)
    parts = [batch.column(name) for batch in source.batches([name], 1 << 16)]
    if not parts:
        return np.empty(0), np.empty(0, dtype=bool)
    parts = [getattr(part, "storage", part) for part in parts]
    missing = np.concatenate([part.is_null().to_numpy(zero_copy_only=False) for part in parts])
    if number:
        numbers = [part.to_numpy(zero_copy_only=False) for part in parts]
        if any(part.dtype == object for part in numbers):  # decimals, truth values with gaps
            numbers = [part.astype(float) for part in numbers]
        values = np.concatenate(numbers)
        return values, missing | (np.isnan(values) if values.dtype.kind == "f" else missing)
    try:
        texts = [str(v) for part in parts for v in part.cast("string").to_pylist()]
    except (arrow.ArrowInvalid, arrow.ArrowNotImplementedError):
        raise FileError(
            f"{where}: column '{name}' holds {source.types[name]}, which cannot be told apart"
        ) from None
    return np.array(texts), missing
