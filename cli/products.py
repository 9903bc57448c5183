"""What `divmatch match` writes: weights, rows moved or made, row numbers; as .npy, .npz or .parquet."""

import io
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.cli.plans import archive
from divmatch.cli.report import Report
from divmatch.errors import SettingError
from divmatch.match import Matched
from divmatch.matcher import Task
from divmatch.samples import Samples
from divmatch.scaling import own_units

SUFFIXES = {".npy": "npy", ".npz": "npz", ".parquet": "product"}
WEIGHT = "weight"


def product_form(path: str) -> str | None:
    """The form of the product that a file name asks for; None: the name is a report's."""
    return SUFFIXES.get(os.path.splitext(path)[1].lower())


def forms_of(found: Matched, task: Task, path: str | None) -> dict[str, Callable[[Report], bytes]]:
    """How each form is written; ``path`` is the input that the rows come from, if there is one."""
    arrays = arrays_of(found, task)
    first = next(iter(arrays))
    return {
        "npy": lambda _: saved(arrays[first]),
        "npz": lambda _: archive(arrays),
        "product": lambda _: _table(found, task, path, arrays),
    }


def arrays_of(found: Matched, task: Task) -> dict[str, NDArray[Any]]:
    """The product, first, and what stands beside it in an .npz file."""
    beside = {name: np.asarray(values) for name, values in found.fit.arrays.items()}
    if task.product == "weights" and found.fit.points is not None:
        return {"points": _units(found, found.points), "weights": found.weights, **beside}
    if task.product == "weights":
        return {"weights": in_file(found, found.weights), **beside}
    if task.product == "rows":
        rows = found.fit.rows
        assert rows is not None  # noqa: S101
        places = _places(found)
        beside = {k: places[v] if v.dtype.kind == "i" else v for k, v in beside.items()}
        return {"rows": places[rows], "weights": found.weights, **beside}
    if "snapshots" in beside:
        beside["snapshots"] = np.array([_units(found, points) for points in beside["snapshots"]])
    return {"points": _units(found, found.points), **beside}


def _units(found: Matched, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows as their file has them: what --scale has divided by is undone."""
    return own_units(replace(found.x, points=points, _derived={}))


def check_movable(x: Samples, task: Task) -> None:
    """Refuse to move what is no number."""
    _, numbers, _ = x.origin.get("layout", (None, x.d, x.d))
    if task.product == "points" and numbers < x.d:
        raise SettingError(
            f"{x.name}: words and missing values cannot be moved; choose columns of numbers with "
            "--columns, and --na drop or mean"
        )


def in_file(found: Matched, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """One value a row of the file: rows that were left out when it was read have 0."""
    places = found.x.origin.get("places")
    if places is None:
        return values
    made = np.zeros(found.x.origin["rows"])
    made[places] = values
    return made


def _places(found: Matched) -> NDArray[np.intp]:
    """Where the rows are in their file."""
    places = found.x.origin.get("places")
    return np.arange(found.x.n) if places is None else np.asarray(places, dtype=np.intp)


def saved(array: NDArray[Any]) -> bytes:
    """A .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _table(
    found: Matched, task: Task, path: str | None, arrays: Mapping[str, NDArray[Any]]
) -> bytes:
    """Other columns of P go with the product."""
    from divmatch.carrying import carried

    if path is not None and task.product == "weights":
        if found.fit.points is not None:
            return _lengthened(found, path, arrays)
        return carried(path, {WEIGHT: arrays["weights"]})
    if path is not None and task.product == "rows":
        return carried(path, {WEIGHT: arrays["weights"]}, rows=arrays["rows"])
    points = arrays["points"]
    names = found.x.columns or tuple(map(str, range(points.shape[1])))
    columns = dict(zip(names, points.T, strict=True))
    if path is None or found.fit.fresh or len(points) != found.x.n:
        return _alone(columns)
    return carried(path, columns, rows=_places(found))


def _lengthened(found: Matched, path: str, arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """P's rows with all their columns, and below them new ones that have only those of the match."""
    from divmatch.carrying import carried

    n, weights, points = found.x.n, arrays["weights"], arrays["points"]
    names = found.x.columns or tuple(map(str, range(points.shape[1])))
    more = {**dict(zip(names, points[n:].T, strict=True)), WEIGHT: weights[n:]}
    return carried(path, {WEIGHT: in_file(found, weights[:n])}, more=more)


def _alone(columns: Mapping[str, NDArray[Any]]) -> bytes:
    """New rows have no file to take other columns from."""
    import pyarrow
    from pyarrow import parquet

    sink = pyarrow.BufferOutputStream()
    parquet.write_table(
        pyarrow.table({k: np.ascontiguousarray(v) for k, v in columns.items()}), sink
    )
    data: bytes = sink.getvalue().to_pybytes()
    return data
