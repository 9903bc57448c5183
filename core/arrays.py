"""Arrays in .npy and .npz files; nothing is ever unpickled."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.columns import shortlist
from divmatch.errors import FileError, suggestion
from divmatch.places import Place, damage


def load_array(place: Place, kind: str, source: str | BytesIO) -> NDArray[Any]:
    """Load the array of an .npy file, or one of an .npz; never unpickle."""
    with damage(place.name, f".{kind}"), _no_objects(place.name):
        if isinstance(source, str) and kind == "npy":
            return np.asarray(np.load(source, mmap_mode="r", allow_pickle=False))
        # Opened here: NumPy leaves its own handle open where an archive is damaged.
        with open(source, "rb") if isinstance(source, str) else source as file:
            loaded: Any = np.load(file, allow_pickle=False)
            if not isinstance(loaded, np.ndarray):
                return _picked_array(loaded, place)
            if place.selector is not None:
                raise FileError(f"{place.name}: holds one array, '::' picks nothing; drop the '::'")
            return loaded


@contextmanager
def _no_objects(name: str) -> Iterator[None]:
    """NumPy would advise to unpickle, which runs whatever the file says."""
    try:
        yield
    except ValueError as error:
        if not any(word in str(error) for word in ("allow_pickle", "Python objects")):
            raise
        raise FileError(
            f"{name}: holds Python objects, which are never unpickled; save numbers instead"
        ) from None


def _picked_array(archive: Any, place: Place) -> NDArray[Any]:
    keys = list(archive.files)
    key = place.selector if place.selector is not None else keys[0] if len(keys) == 1 else None
    if key is None:
        raise FileError(
            f"{place.name}: holds {len(keys)} arrays; pick one, {place.name}::KEY with KEY one of "
            f"{shortlist(keys)}"
        )
    if key not in keys:
        near = suggestion(key, keys)
        raise FileError(f"{place.name}: no array '{key}'{near or f'; it has {shortlist(keys)}'}")
    array = archive[key]
    if not isinstance(array, np.ndarray):  # a member that is no .npy comes as bytes
        raise FileError(f"{place.name}: '{key}' is no array; expected a member ending in .npy")
    return array
