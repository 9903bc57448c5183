"""Files: every way that rows come in; a damaged file gets one line, never a traceback."""

import os
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any, BinaryIO
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import DivmatchError, FileError, SampleError, suggestion
from divmatch.samples import as_weights
from divmatch.tables import Column, Reading, Table, chosen, labels_of, not_found, shortlist

SUFFIXES = {
    ".npy": "npy",
    ".npz": "npz",
    ".parquet": "parquet",
    ".csv": "csv",
    ".tsv": "tsv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
}
MAGIC = {"npy": (b"\x93NUMPY",), "npz": (b"PK\x03\x04", b"PK\x05\x06"), "parquet": (b"PAR1",)}
BATCH_BYTES = 4 << 20  # decoded numbers in flight while a file is streamed
BLOCK_BYTES = 16 << 20  # text parsed at once; no row may be longer


@dataclass(frozen=True)
class Place:
    """Where rows come from: the name the user gave, what it holds, its files, what to pick."""

    name: str
    kind: str
    paths: tuple[str, ...]
    selector: str | None = None


@dataclass(frozen=True)
class _Source:
    """Columns that pyarrow can hand over batch by batch."""

    types: dict[str, Any]
    rows: int
    batches: Callable[[list[str], int], Iterator[Any]]  # names, rows a batch
    from_array: bool = False  # '::' has already picked the array


def check_readable(paths: Iterable[str]) -> None:
    """Refuse, in milliseconds, what can be seen to fail: missing, empty, forbidden, mislabelled.

    Parameters
    ----------
    paths : iterable of str
        Inputs as given on the command line, with ``::selector`` or ``-`` (at most once).

    Raises
    ------
    FileError
        Naming the file, what is wrong and what to do.
    """
    places = [locate(path) for path in paths]
    if sum(place.paths == ("-",) for place in places) > 1:
        raise FileError("-: standard input can be read only once; save one of the inputs to a file")


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
        ``weights_p`` and ``weights_q``, and the two draw different rows when sampled.

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
    opened = _opened(place, reading.stdin_format)
    if isinstance(opened, _Source):
        table = _from_columns(opened, place, reading, role)
    else:
        table = _from_array(opened, place, reading, role)
    if not len(table.numbers) or table.numbers.shape[1] + table.codes.shape[1] == 0:
        raise SampleError(f"{place.name}: is empty ({table.rows} rows); at least one is needed")
    return table


def files_from(path: str, nul: bool = False) -> list[str]:
    """Names listed in a file (``-``: standard input), one a line or NUL-separated."""
    try:
        if path == "-":
            data = _standard_input()
        else:
            with open(path, "rb") as file:
                data = file.read()
    except OSError as error:
        raise FileError(f"{path}: {_reason(error)}; expected a list of files") from None
    parts = data.split(b"\0") if nul else [line.rstrip(b"\r") for line in data.split(b"\n")]
    names = [os.fsdecode(part) for part in parts if part]
    if not names:
        raise FileError(f"{path}: lists no file")
    if not nul and "\0" in "".join(names):
        raise FileError(f"{path}: holds NUL bytes; add -0 if names are separated by them")
    return names


def locate(text: str) -> Place:
    """Find the files behind an input and look at their first bytes."""
    path, selector = _split(text)
    if path == "-":
        return Place(text, "stdin", ("-",), selector)
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        parts = _globbed(path)
        if not parts:
            raise FileError(f"{text}: {_why_not(path, error)}") from None
        return _parts(text, parts, selector)
    if stat.S_ISDIR(mode):
        return _parts(text, _folder(path), selector)
    if not stat.S_ISREG(mode):  # a pipe such as <(zcat a.csv.gz), or /dev/stdin
        return Place(text, "stdin", (path,), selector)
    kind = SUFFIXES.get(os.path.splitext(path)[1].lower())
    if kind is None:
        raise FileError(f"{text}: unknown kind of file, expected {', '.join(SUFFIXES)}; rename it")
    _check_start(text, path, kind)
    if selector is not None and kind == "npy":
        raise FileError(f"{text}: an .npy file holds one array, '::' picks nothing; drop the '::'")
    return Place(text, kind, (path,), selector)


def _split(text: str) -> tuple[str, str | None]:
    """Part ``path::selector``; names may hold '::' themselves, so what exists wins."""
    if "::" not in text or os.path.lexists(text):
        return text, None
    cuts = [k for k in range(len(text)) if text.startswith("::", k)]
    for cut in reversed(cuts):
        if text[:cut] == "-" or os.path.lexists(text[:cut]):
            return text[:cut], text[cut + 2 :]
    return text[: cuts[0]], text[cuts[0] + 2 :]


def _globbed(path: str) -> list[str]:
    if not any(letter in path for letter in "*?["):
        return []
    from glob import glob

    return sorted(glob(path, recursive=True))


def _folder(path: str) -> list[str]:
    """List the Parquet files below a folder, without hidden ones and a writer's own."""
    return sorted(
        os.path.join(folder, name)
        for folder, _, names in os.walk(path)
        for name in names
        if name.endswith(".parquet") and name[0] not in "._"
    )


def _parts(text: str, paths: Sequence[str], selector: str | None) -> Place:
    """Several Parquet files read as one."""
    if not paths:
        raise FileError(f"{text}: is a folder without .parquet files; name a file")
    for path in paths:
        if not path.endswith(".parquet") or not os.path.isfile(path):
            raise FileError(f"{text}: matches {path}; only .parquet files are read as one")
        _check_start(path, path, "parquet")
    return Place(text, "parquet", tuple(paths), selector)


def _why_not(path: str, error: Exception) -> str:
    """No such file, with the nearest name beside it."""
    if not isinstance(error, FileNotFoundError):
        return _reason(error)
    try:
        near = suggestion(os.path.basename(path), os.listdir(os.path.dirname(path) or "."))
    except OSError:
        near = ""
    return f"no such file{near}"


def _reason(error: Exception) -> str:
    """Say what the system says, in lower case."""
    if isinstance(error, PermissionError):
        return "may not be read (permission denied); change its permissions"
    if isinstance(error, FileNotFoundError):
        return "no such file"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (text.splitlines() or [type(error).__name__])[0][:200].lower()


def _check_start(name: str, path: str, kind: str) -> None:
    """Compare the first bytes with the kind that the name promises."""
    try:
        with open(path, "rb") as file:
            start = file.read(8)
    except OSError as error:
        raise FileError(f"{name}: {_reason(error)}") from None
    if not start:
        raise FileError(f"{name}: is empty (0 bytes); write it anew")
    if kind in MAGIC and not start.startswith(MAGIC[kind]):
        other = next((k for k, marks in MAGIC.items() if start.startswith(marks)), None)
        what = f"looks like .{other}" if other else f"starts with {start!r}"
        raise FileError(f"{name}: is no .{kind} file, it {what}; rename or convert it")


def _standard_input() -> bytes:
    if sys.stdin is None or sys.stdin.closed:
        raise FileError("-: standard input is closed; name a file")
    return sys.stdin.buffer.read()


@contextmanager
def _damage(name: str, kind: str) -> Iterator[None]:
    """Whatever a decoder throws at a damaged file becomes one line."""
    try:
        yield
    except DivmatchError:
        raise
    except MemoryError:
        raise FileError(f"{name}: is damaged, or larger than the memory; write it anew") from None
    except PermissionError as error:
        raise FileError(f"{name}: {_reason(error)}") from None
    except Exception as error:  # decoders raise nearly every type there is
        text = " ".join(str(error).split())[:160].rstrip(".;: ")
        detail = f" ({text})" if text else ""
        raise FileError(
            f"{name}: cannot be read as {kind}{detail}; it is damaged or something else, "
            "write it anew"
        ) from None


def _opened(place: Place, stdin_format: str | None) -> NDArray[Any] | _Source:
    """Open a place: an array, or columns in batches."""
    kind = place.kind
    source: str | BytesIO = place.paths[0] if place.paths else ""
    if kind == "stdin":
        with _damage(place.name, "a stream"):
            data = _standard_input() if source == "-" else _bytes(place.paths[0])
        if not data:
            raise FileError(f"{place.name}: is empty (0 bytes); nothing was piped in")
        kind, source = stdin_format or _sniffed(data), BytesIO(data)
    if kind in ("npy", "npz"):
        array = _array(place, kind, source)
        return array if array.dtype.kind in "biuf" else _columns_of(array, place.name)
    _arrow(place.name)
    if kind == "parquet":
        return _parquet(place, list(place.paths) if isinstance(source, str) else [source])
    return _text(place, kind, source)


def _bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _sniffed(data: bytes) -> str:
    """Tell the kind from the first bytes."""
    for kind, marks in MAGIC.items():
        if data.startswith(marks):
            return kind
    return "ndjson" if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") else "csv"


def _arrow(name: str) -> Any:
    """Load pyarrow: only tables need it, and it takes longer than a small job."""
    try:
        import pyarrow
    except ImportError:
        raise FileError(f"{name}: needs pyarrow to be read; pip install pyarrow") from None
    return pyarrow


def _array(place: Place, kind: str, source: str | BytesIO) -> NDArray[Any]:
    """Load the array of an .npy file, or one of an .npz; never unpickle."""
    with _damage(place.name, f".{kind}"):
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


def _columns_of(array: NDArray[Any], name: str) -> _Source:
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
    arrow = _arrow(name)
    with _damage(name, ".npy"):
        table = arrow.table({key: _arrow_of(v, arrow) for key, v in fields.items()})
    return replace(_in_memory(table), from_array=True)


def _arrow_of(values: NDArray[Any], arrow: Any) -> Any:
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8")
    values = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("="))
    if values.ndim == 1:
        return arrow.array(values)
    flat = arrow.array(values.reshape(-1))
    return arrow.FixedSizeListArray.from_arrays(flat, int(np.prod(values.shape[1:])))


def _in_memory(table: Any) -> _Source:
    names = table.column_names

    def batches(wanted: list[str], size: int) -> Iterator[Any]:
        part = table.select([names.index(name) for name in wanted])
        yield from part.to_batches(max_chunksize=size)

    return _Source(_types(table.schema), table.num_rows, batches)


def _types(schema: Any) -> dict[str, Any]:
    twice = [name for name, count in Counter(schema.names).items() if count > 1]
    if twice:
        raise FileError(f"column '{twice[0]}' appears twice; rename one of them")
    return {field.name: field.type for field in schema}


def _text(place: Place, kind: str, source: str | BytesIO) -> _Source:
    """CSV, TSV or NDJSON as a whole: types are certain only at the end."""
    with _damage(place.name, kind):
        if kind == "ndjson":
            from pyarrow import json

            table = json.read_json(source, read_options=json.ReadOptions(block_size=BLOCK_BYTES))
        else:
            from pyarrow import csv

            table = csv.read_csv(
                source,
                read_options=csv.ReadOptions(block_size=BLOCK_BYTES),
                parse_options=csv.ParseOptions(delimiter="\t" if kind == "tsv" else ","),
                convert_options=csv.ConvertOptions(strings_can_be_null=True),
            )
            _check_header(table.column_names, place.name)
    with _named(place.name):
        return _in_memory(table)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Put the file in front of an error that knows only the column."""
    try:
        yield
    except FileError as error:
        raise FileError(f"{name}: {error}") from None


def _check_header(names: Sequence[str], where: str) -> None:
    """Refuse a first line of numbers: it is data, unless it counts the columns."""
    try:
        numbers = [float(name) for name in names]
    except ValueError:
        return
    if numbers and numbers != [float(k) for k in range(len(numbers))]:
        raise FileError(f"{where}: the first line holds numbers, expected names; add a header line")


def _parquet(place: Place, files: Sequence[str | BytesIO]) -> _Source:
    """Parquet parts, opened one at a time; only the columns asked for are decoded."""
    from pyarrow import parquet

    arrow = _arrow(place.name)

    def opened(file: str | BytesIO) -> Any:
        # A plain file, not a name: names with ':' would be taken for addresses.
        # Small buffers: reading ahead would hold several row groups at once.
        source = arrow.OSFile(file) if isinstance(file, str) else file
        return parquet.ParquetFile(source, buffer_size=1 << 16, pre_buffer=False)

    def named(file: str | BytesIO) -> str:
        return file if isinstance(file, str) and len(files) > 1 else place.name

    rows, types = 0, list[dict[str, Any]]()
    for file in files:
        with _damage(named(file), ".parquet"), opened(file) as part:
            rows += part.metadata.num_rows
            schema = part.schema_arrow
        with _named(named(file)):
            types.append(_types(schema))

    def batches(wanted: list[str], size: int) -> Iterator[Any]:
        for file, own in zip(files, types, strict=True):
            _check_part(named(file), own, {name: types[0][name] for name in wanted})
            with _damage(named(file), ".parquet"), opened(file) as part:
                yield from part.iter_batches(batch_size=size, columns=wanted)

    return _Source(types[0], rows, batches)


def _check_part(name: str, own: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Every part needs the columns of the first, of the same kind."""
    for column, first in wanted.items():
        if column not in own:
            raise FileError(f"{name}: {not_found(column, own)}")
        if _kind(own[column]) != _kind(first):
            raise FileError(
                f"{name}: column '{column}' holds {own[column]}, but {first} in the first part; "
                "write the parts with one type"
            )


def _kind(type_: Any) -> str:
    """Num, list, cat, or other for what is neither a number nor a category."""
    from pyarrow import types

    if isinstance(type_, _arrow("").BaseExtensionType):
        return _kind(type_.storage_type)
    numeric = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal)
    if any(test(type_) for test in (*numeric, types.is_null)):
        return "num"
    lists = (types.is_list, types.is_large_list, types.is_fixed_size_list)
    if any(test(type_) for test in lists) and _kind(type_.value_type) == "num":
        return "list"
    if types.is_dictionary(type_):
        return "cat" if _kind(type_.value_type) in ("cat", "num") else "other"
    texts = (types.is_string, types.is_large_string, types.is_string_view)
    return "cat" if any(test(type_) for test in texts) else "other"


def _from_array(array: NDArray[Any], place: Place, reading: Reading, role: str) -> Table:
    """Make a table of a plain array; copy only where rows or columns are left out."""
    if array.ndim not in (1, 2):
        raise FileError(f"{place.name}: has shape {array.shape}, expected rows and columns")
    block = array[:, None] if array.ndim == 1 else array
    rows = len(block)
    weights_from, weights, hidden = None, None, set[str]()
    picked = _picked(rows, reading, role)
    known = [str(k) for k in range(block.shape[1])]
    if reading.weights or _own_weights(reading, role):
        weights_from, hidden = _weights_from(reading, role, known, place.name)
        if weights_from in known:
            weights = block[:, int(weights_from)].astype(np.float64)
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
    return _weighted(_narrowed(table, reading, hidden), weights, weights_from)


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


def _picked(rows: int, reading: Reading, role: str) -> NDArray[np.int64] | None:
    """Draw the rows that ``--sample`` keeps, in order; one stream for each role."""
    wanted = reading.sampled(rows)
    if wanted >= rows:
        return None
    side = "p" if role in ("p", "ref") else "q"
    rng = np.random.default_rng([reading.seed, crc32(f"sample {side}".encode())])
    return np.sort(rng.choice(rows, wanted, replace=False, shuffle=False)).astype(np.int64)


def _own_weights(reading: Reading, role: str) -> str | None:
    return reading.weights_p if role in ("p", "ref") else reading.weights_q


def _weights_from(
    reading: Reading, role: str, known: Sequence[str], where: str
) -> tuple[str, set[str]]:
    """Where the weights of this file are, and the columns that are no data because of it."""
    own = _own_weights(reading, role)
    given = own or reading.weights or ""
    is_file = own is not None and (own.endswith(".npy") or ".npz" in own)
    if given not in known and not is_file:
        raise FileError(f"{where}: weights: {not_found(given, known)}")
    return given, {given, reading.weights or given} & set(known)


def _weighted(table: Table, weights: NDArray[Any] | None, given: str | None) -> Table:
    """Add the weights, from a column already read or from their own file."""
    if given is None:
        return table
    if weights is None:
        place = locate(given)
        loaded = _opened(place, None)
        if isinstance(loaded, _Source) or loaded.size != table.rows:
            size = "no numbers" if isinstance(loaded, _Source) else f"{loaded.size} weights"
            raise FileError(
                f"{given}: holds {size}, but {table.name} has {table.rows} rows; give one a row"
            )
        where, weights = given, np.array(loaded, dtype=np.float64).reshape(-1)
    else:
        where = f"{table.name}: column '{given}'"
    with np.errstate(over="ignore"):
        as_weights(weights, table.rows, where)
        if not np.isfinite(weights.sum()):
            weights = weights / weights.max()  # their sum must not overflow
    kept = weights if table.picked is None else weights[table.picked]
    return replace(table, weights=kept, weights_from=given)


def _from_columns(source: _Source, place: Place, reading: Reading, role: str) -> Table:
    """Choose columns of a table and read only those."""
    kinds = {name: _kind(type_) for name, type_ in source.types.items()}
    known, hidden, weights_from = kinds, set[str](), None
    if reading.weights or _own_weights(reading, role):
        weights_from, hidden = _weights_from(reading, role, list(kinds), place.name)
    selector = _selector(source, place, kinds)
    if selector is not None:
        known, hidden = {selector: kinds[selector]}, set()
    listed = selector is not None and kinds[selector] == "list"
    visible = {name: kind for name, kind in known.items() if name not in hidden}
    names, unmatched = chosen(None if listed else reading.columns, visible, place.name)
    weight_column = weights_from if weights_from in kinds else None
    for name in [*names, *([weight_column] if weight_column else [])]:
        if kinds[name] == "other" or (name == weight_column and kinds[name] != "num"):
            raise FileError(
                f"{place.name}: column '{name}' holds {source.types[name]}, neither numbers nor "
                f"categories; leave it out with --columns '!{name}'"
                if name in names
                else f"{place.name}: column '{name}' holds {source.types[name]}, no weights"
            )
    picked = _picked(source.rows, reading, role)
    table, weights = _filled(source, place, names, picked, weight_column)
    table = replace(table, selected=selector is not None, unmatched=unmatched)
    if listed:
        labels = tuple(str(k) for k in range(len(table.labels)))
        column = replace(table.columns[0], name="")
        table = replace(table, columns=(column,), labels=labels, plain=True)
        table = _narrowed(table, reading, set())
    return _weighted(table, weights, weights_from)


def _selector(source: _Source, place: Place, kinds: dict[str, str]) -> str | None:
    """Check the column picked by ``file::column``, if one is."""
    if source.from_array or place.selector is None:
        return None
    if place.selector not in kinds:
        raise FileError(f"{place.name}: {not_found(place.selector, kinds)}")
    return place.selector


def _filled(
    source: _Source,
    place: Place,
    names: list[str],
    picked: NDArray[np.int64] | None,
    weight_column: str | None,
) -> tuple[Table, NDArray[np.float64] | None]:
    """Stream the columns into arrays made once; weights come for all rows, for their check."""
    columns = _headings(source, place.name, names)
    labels = labels_of(columns)
    rows = source.rows if picked is None else len(picked)
    numbers = np.empty((rows, len(labels)))
    codes = np.empty((rows, sum(column.kind == "cat" for column in columns)), dtype=np.int32)
    words: list[dict[str, int]] = [{} for _ in range(codes.shape[1])]
    weights = np.empty(source.rows) if weight_column else None
    start = filled = 0
    wanted = list(dict.fromkeys([*names, *([weight_column] if weight_column else [])]))
    size = max(64, min(1 << 16, BATCH_BYTES // (8 * max(1, len(labels)))))
    for batch in source.batches(wanted, size):
        if start + len(batch) > source.rows:
            raise FileError(f"{place.name}: holds more rows than it promises; write it anew")
        if weights is not None:
            weights[start : start + len(batch)] = _numbers(batch.column(weight_column))
        here, part = None, batch
        if picked is not None:
            low, high = np.searchsorted(picked, [start, start + len(batch)])
            here = picked[low:high]
            part = batch.take(_arrow(place.name).array(here - start))
        stop = filled + len(part)
        number = code = 0
        for column in columns:
            values = part.column(column.name)
            if column.kind == "cat":
                with _damage(place.name, f"text in column '{column.name}'"):
                    codes[filled:stop, code] = _codes(values, words[code])
                code += 1
                continue
            into = numbers[filled:stop, number : number + column.width]
            if column.kind == "list":
                _lists(values, into, here, start, f"{place.name}: column '{column.name}'")
            else:
                into[:, 0] = _numbers(values)
            number += column.width
        start, filled = start + len(batch), stop
    if filled != rows:
        raise FileError(f"{place.name}: promises {rows} rows, but holds {filled}; write it anew")
    known = iter(range(len(words)))
    columns = [
        replace(column, words=_sorted_words(codes, k, words[k]))
        if column.kind == "cat" and (k := next(known)) >= 0
        else column
        for column in columns
    ]
    table = Table(
        place.name, place.kind, source.rows, tuple(columns), labels, numbers, codes, picked=picked
    )
    return table, weights


def _headings(source: _Source, where: str, names: Sequence[str]) -> list[Column]:
    """Name, kind and type of the columns; the width of a list is that of its first row."""
    kinds: Any = {name: _kind(source.types[name]) for name in names}
    lists = [name for name in names if kinds[name] == "list"]
    widths = dict.fromkeys(names, 1) | _widths(source, lists)
    return [Column(n, kinds[n], widths[n], type=str(source.types[n])) for n in names]


def _widths(source: _Source, names: list[str]) -> dict[str, int]:
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


def _numbers(values: Any) -> NDArray[np.float64]:
    """Any numeric column as float64, null as NaN."""
    values = getattr(values, "storage", values)
    found: NDArray[np.float64] = values.cast("float64", safe=False).to_numpy(zero_copy_only=False)
    return found


def _lists(
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
            f"{where} has {int(lengths[ragged[0]])} numbers at row {row}, expected {width} as in "
            f"the first row; leave it out or make the lists equally long"
        )
    into[~there] = np.nan
    # flatten() leaves out missing lists and honours slices; .values does neither.
    into[there] = _numbers(values.flatten()).reshape(-1, width)


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
        or ``distinct``, ``most_frequent``. Columns of other types are named, but not looked into.
    """
    place = locate(path)
    opened = _opened(place, stdin_format)
    others: list[dict[str, Any]] = []
    if isinstance(opened, _Source):
        kinds = {name: _kind(type_) for name, type_ in opened.types.items()}
        selector = _selector(opened, place, kinds)
        names = list(kinds) if selector is None else [selector]
        others = [
            {"name": name, "type": str(opened.types[name]), "kind": "other"}
            for name in names
            if kinds[name] == "other"
        ]
        readable = [name for name in names if kinds[name] != "other"]
        table, _ = _filled(opened, place, readable, None, None)
    else:
        table = _from_array(opened, place, Reading(), "p")
    return {
        "name": place.name,
        "kind": place.kind,
        "rows": table.rows,
        "duplicates": _duplicates(table),
        "columns": [*_summaries(table), *others],
    }


def _summaries(table: Table) -> Iterator[dict[str, Any]]:
    number = code = 0
    for column in table.columns:
        known = {"name": column.name, "type": column.type, "kind": column.kind}
        if column.kind == "cat":
            codes = table.codes[:, code]
            counts = np.bincount(codes + 1, minlength=len(column.words) + 1)
            most = column.words[int(np.argmax(counts[1:]))] if column.words else None
            yield known | {
                "missing": int(counts[0]),
                "distinct": len(column.words),
                "most_frequent": most,
            }
            code += 1
            continue
        for k in range(number, number + column.width) if table.plain else ():
            yield known | {"name": table.labels[k], "kind": "num"} | _range(table.numbers[:, k])
        if not table.plain:
            yield known | _range(table.numbers[:, number : number + column.width])
        number += column.width


def _range(values: NDArray[Any]) -> dict[str, Any]:
    """Missing and infinite values, and the range and mean of the finite ones."""
    numbers = np.asarray(values, dtype=np.float64)
    finite = numbers[np.isfinite(numbers)]
    found: dict[str, Any] = {
        "missing": int(np.isnan(numbers).sum()),
        "infinite": int(np.isinf(numbers).sum()),
        "min": None,
        "mean": None,
        "max": None,
    }
    if len(finite):
        mean = float(np.mean(finite / len(finite)) * len(finite))  # the sum might overflow
        found |= {"min": float(finite.min()), "mean": mean, "max": float(finite.max())}
    return found


def _duplicates(table: Table) -> int:
    """Rows that equal an earlier one."""
    if table.numbers.size + table.codes.size == 0:
        return 0
    block = np.hstack([table.numbers.astype(np.float64) + 0.0, table.codes])  # -0 equals 0
    rows = np.ascontiguousarray(block).view(np.dtype((np.void, 8 * block.shape[1])))
    return len(rows) - len(np.unique(rows))


def parquet_bytes(rows: Sequence[dict[str, Any]]) -> bytes:
    """Rows with the same keys as a Parquet file in memory."""
    arrow = _arrow("parquet")
    sink = arrow.BufferOutputStream()
    import pyarrow.parquet as parquet

    parquet.write_table(arrow.Table.from_pylist(list(rows)), sink)
    made: bytes = sink.getvalue().to_pybytes()
    return made


@contextmanager
def parquet_rows(
    file: BinaryIO, kinds: dict[str, str]
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Write a Parquet file a row group at a time; ``kinds`` are Arrow's names of the types."""
    arrow = _arrow("parquet")
    import pyarrow.parquet as parquet

    schema = arrow.schema([(name, getattr(arrow, kind)()) for name, kind in kinds.items()])
    with parquet.ParquetWriter(file, schema) as writer:
        yield lambda columns: writer.write_table(arrow.table(columns, schema=schema))
