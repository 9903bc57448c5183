"""Arrays in .npy and .npz files; nothing is ever unpickled."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import IO, Any
from zipfile import ZipFile

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from divmatch.budget import free_memory
from divmatch.columns import shortlist
from divmatch.errors import FileError, RoomError, suggestion
from divmatch.places import MAGIC, Place, damage

HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def load_array(place: Place, kind: str, source: str | BytesIO) -> NDArray[Any]:
    """Load the array of an .npy file, or one of an .npz; never unpickle."""
    with (
        damage(place.name, f".{kind}"),
        _no_objects(place.name),
        # Opened here: NumPy leaves its own handle open where an archive is damaged.
        open(source, "rb") if isinstance(source, str) else source as file,
    ):
        if kind == "npy":
            _check_size(file, file.seek(0, os.SEEK_END), place.name)
        if isinstance(source, str) and kind == "npy":
            return np.asarray(np.load(source, mmap_mode="r", allow_pickle=False))
        loaded: Any = np.load(file, allow_pickle=False)
        if not isinstance(loaded, np.ndarray):
            return _picked_array(loaded, place)
        if place.selector is not None:
            raise FileError(f"{place.name}: holds one array, '::' picks nothing; drop the '::'")
        return loaded


def load_arrays(path: str) -> dict[str, NDArray[Any]]:
    """Every array of an .npz file, whose size is compared with the free memory first; never unpickle."""
    if not os.path.isfile(path):
        raise FileError(f"{path}: no such file")
    with damage(path, ".npz"), _no_objects(path), open(path, "rb") as file:
        if file.read(4) not in MAGIC["npz"]:  # NumPy would take it for a pickle
            raise FileError(f"{path}: is no .npz file, expected one with several arrays")
        file.seek(0)
        loaded: Any = np.load(file, allow_pickle=False)
        _check_room(loaded.zip, path)
        for key in loaded.files:
            _check_member(loaded.zip, key, path)
        return {key: np.asarray(loaded[key]) for key in loaded.files}


def _check_room(archive: ZipFile, where: str) -> None:
    """Refuse an archive that would inflate beyond the memory."""
    size, free = sum(member.file_size for member in archive.infolist()), free_memory()
    if size > free:
        raise RoomError(f"{where}: needs {size >> 20} MiB of memory, and {free >> 20} MiB are free")


def _check_size(file: IO[bytes], size: int, where: str) -> None:
    """Compare the size that the header promises with what is there, before anything is read."""
    file.seek(0)
    version = npy.read_magic(file)
    if version not in HEADERS:  # 3.0, of structured arrays; NumPy looks at these itself
        file.seek(0)
        return
    try:
        shape, _, dtype = HEADERS[version](file)
    except ValueError:  # whose text quotes what it found
        raise FileError(
            f"{where}: its header cannot be read; it is damaged, write it anew"
        ) from None
    promised, held = math.prod(shape) * dtype.itemsize, size - file.tell()
    file.seek(0)
    if promised != held and not dtype.hasobject:
        raise FileError(f"{where}: promises {promised} bytes, but holds {held}; write it anew")


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


def _check_member(archive: ZipFile, key: str, where: str) -> None:
    """Refuse a member that is damaged, or would inflate beyond the memory, without inflating it."""
    names = archive.namelist()
    name = key if key in names else f"{key}.npy"
    size, free = archive.getinfo(name).file_size, free_memory()
    if name.endswith(".npy"):
        with archive.open(name) as member:
            _check_size(member, size, where)
    if size > free:
        raise RoomError(
            f"{where}: '{key}' needs {size >> 20} MiB of memory, and {free >> 20} MiB are free; save "
            "it as .npy, which is read in place"
        )


def _picked_array(archive: Any, place: Place) -> NDArray[Any]:
    keys = list(archive.files)
    if not keys:
        raise FileError(f"{place.name}: holds no array; write it anew")
    key = place.selector if place.selector is not None else keys[0] if len(keys) == 1 else None
    if key is None:
        name = "/dev/stdin" if place.name == "-" else place.name  # -::KEY looks like an option
        raise FileError(
            f"{place.name}: holds {len(keys)} arrays; pick one, {name}::KEY with KEY one of "
            f"{shortlist(keys)}"
        )
    if key not in keys:
        near = suggestion(key, keys)
        raise FileError(f"{place.name}: no array '{key}'{near or f'; it has {shortlist(keys)}'}")
    _check_member(archive.zip, key, place.name)
    array = archive[key]
    if not isinstance(array, np.ndarray):  # a member that is no .npy comes as bytes
        raise FileError(f"{place.name}: '{key}' is no array; expected a member ending in .npy")
    return array
