"""Map files: an .npz of arrays that says what a map is, of which columns, in which units.

from divmatch.transport.map_file import load_map, map_file

map_file(found.fit.mapping, found.x).save("map.npz")  # found = divmatch.match.map(x, y)
load_map("map.npz")(z)  # where rows z go, in their own units
"""

from collections.abc import Mapping
from dataclasses import Field, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.arrays import load_arrays
from divmatch.errors import FileError, counted
from divmatch.outputs import whole_file
from divmatch.samples import Samples
from divmatch.scaling import Scaling
from divmatch.transport import costs
from divmatch.transport.maps import KINDS, RowMap, Staircase

Array = NDArray[np.float64]

FORMAT = "divmatch map 1"
OWN = "map_"  # what the map's own fields begin with


@dataclass(frozen=True, eq=False)
class MapFile:
    """A map with what it was fitted to: names of columns, their scale, the range of P's rows.

    ``low`` and ``high`` (d,) are that range, on the scale of the map; ``cost`` is what its gap counts in.
    """

    made: RowMap
    columns: tuple[str, ...]
    scaling: Scaling
    low: Array
    high: Array
    cost: str = "sqeuclidean"

    @property
    def d(self) -> int:
        """Number of columns."""
        return len(self.low)

    def __call__(self, rows: Array) -> Array:
        """Where rows go, (N, d) to (N, d), in their own units."""
        return self.scaling.undone(self.made(self.scaling.applied(rows)))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What the file holds."""
        made = {
            "format": np.asarray(FORMAT),
            "kind": np.asarray(self.made.kind),
            "columns": np.asarray(self.columns, dtype=np.str_),
            "cost": np.asarray(self.cost),
            "low": self.low,
            "high": self.high,
            "scale": np.asarray(self.scaling.name),
        }
        for name in ("unit", "centre", "turn"):
            value = getattr(self.scaling, name)
            if value is not None:
                made[name] = np.asarray(value, dtype=np.float64)
        return made | {
            OWN + f.name: np.asarray(getattr(self.made, f.name)) for f in fields(self.made)
        }

    def save(self, path: str, *, mkdir: bool = False) -> None:
        """Write an .npz that NumPy opens without pickle; the file appears whole or not at all."""
        arrays: dict[str, Any] = self.arrays()
        with whole_file(path, mkdir=mkdir) as file:
            np.savez(file, **arrays)


def map_file(made: RowMap, x: Samples, cost: str = "sqeuclidean") -> MapFile:
    """The file of a map that was fitted to the rows of P."""
    scaling, *_ = x.origin.get("layout", (Scaling(),))
    columns = x.columns or tuple(map(str, range(x.d)))
    low, high = x.points.min(axis=0), x.points.max(axis=0)
    return MapFile(made, columns, scaling, low, high, cost)


def load_map(path: str) -> MapFile:
    """Read a map file; anything else is refused in one line, and nothing is unpickled."""
    arrays = load_arrays(path)
    if str(arrays.get("format")) != FORMAT:
        raise FileError(
            f"{path}: is no map of this version; make one with divmatch match map P Q --fit {path}"
        )
    try:
        return _read(arrays)
    except (KeyError, ValueError, TypeError, IndexError) as error:
        reason = f"'{error.args[0]}' is missing" if isinstance(error, KeyError) else str(error)
        raise FileError(f"{path}: is a damaged map ({reason}); fit it anew") from None


def _read(arrays: Mapping[str, NDArray[Any]]) -> MapFile:
    """A map from its arrays, all of whose shapes must fit together."""
    kind = str(arrays["kind"])
    if kind not in KINDS:
        raise ValueError(f"kind '{kind}' is unknown")
    low, high = _numbers(arrays, "low", 1), _numbers(arrays, "high", 1)
    columns = tuple(map(str, arrays["columns"].reshape(-1)))
    sizes = {"d": len(low)}
    if len(columns) != len(low) or high.shape != low.shape or not columns:
        raise ValueError("columns and their ranges differ in number")
    parts = {f.name: _part(arrays, f, sizes) for f in fields(KINDS[kind])}
    made = KINDS[kind](**parts)
    if isinstance(made, Staircase):
        _check_stairs(made, len(low))
    if not getattr(made, "eps", 1.0) > 0 or not getattr(made, "scale", 1.0) > 0:
        raise ValueError("a number that must be above 0 is not")
    cost = str(arrays["cost"])
    if cost not in costs.PROFILES or getattr(made, "cost", cost) not in costs.PROFILES:
        raise ValueError(f"cost '{cost}' is unknown")
    return MapFile(made, columns, _scaling(arrays, len(low)), low, high, cost)


def _scaling(arrays: Mapping[str, NDArray[Any]], d: int) -> Scaling:
    shapes = {"unit": (d,), "centre": (d,), "turn": (d, d)}
    parts = {name: _numbers(arrays, name, len(s)) for name, s in shapes.items() if name in arrays}
    for name, part in parts.items():
        if part.shape != shapes[name]:
            raise ValueError(f"'{name}' has the shape {part.shape}, expected {shapes[name]}")
    if "unit" in parts and not (parts["unit"] > 0).all():
        raise ValueError("'unit' holds numbers that are not above 0")
    return Scaling(str(arrays["scale"]), **parts)


def _part(arrays: Mapping[str, NDArray[Any]], of: Field[Any], sizes: dict[str, int]) -> Any:
    """One field of a map: an array of the shape that its letters say, a number, or a word."""
    name = OWN + of.name
    letters = getattr(of.type, "__metadata__", None)
    if letters is None:
        return str(arrays[name]) if of.type is str else float(arrays[name])
    if of.name == "starts":
        return np.ascontiguousarray(arrays[name], dtype=np.int64).reshape(-1)
    found = _numbers(arrays, name, len(letters))
    for letter, size in zip(letters, found.shape, strict=True):
        if sizes.setdefault(letter, size) != size:
            raise ValueError(f"'{name}' has the shape {found.shape}, which other parts do not fit")
    return found


def _numbers(arrays: Mapping[str, NDArray[Any]], name: str, dimensions: int) -> Array:
    found = arrays[name]
    if found.dtype != np.float64 or found.ndim != dimensions:
        raise ValueError(f"'{name}' holds no {counted(dimensions, 'dimension')} of float64")
    if not np.isfinite(found).all():
        raise ValueError(f"'{name}' holds what is no finite number")
    return np.ascontiguousarray(found)


def _check_stairs(made: Staircase, d: int) -> None:
    steps = np.diff(made.starts)
    fits = len(steps) == d and made.starts[0] == 0 and made.starts[-1] == len(made.knots)
    if not fits or (steps < 1).any():
        raise ValueError("'map_starts' does not fit the knots")
