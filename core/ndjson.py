"""NDJSON, read twice: for the types of all fields, then for the chosen fields alone.

Blocks are cut at line ends and parsed one by one. pyarrow's own way over several blocks ends the
process where a later block holds another type than the first, and cannot turn null into a list.
It also ends the process where the first value is null, and where nesting exhausts the stack, so
every line is looked at before it gets there.
"""

import re
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import FileError
from divmatch.places import Place, damage
from divmatch.sources import Source

BLOCK_BYTES = 4 << 20  # text parsed at once, up to the end of its last line
DEEPEST = 64  # objects and lists inside each other: pyarrow recurses, and would exhaust the stack
STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


def ndjson_source(place: Place, source: str | BytesIO) -> Source:
    """Stream objects, one a line; types and the number of rows come from a pass over all of it."""
    types: dict[str, Any] = {}
    rows = 0
    for table in _parsed(place, source):
        rows += table.num_rows
        for field in table.schema:
            types[field.name] = _joined(types.get(field.name), field.type, field.name, place.name)

    def batches(wanted: list[str], size: int) -> Iterator[Any]:
        for table in _parsed(place, source, {name: types[name] for name in wanted}):
            yield from table.to_batches(max_chunksize=size)

    return Source(types, rows, batches)


def _parsed(
    place: Place, source: str | BytesIO, only: Mapping[str, Any] | None = None
) -> Iterator[Any]:
    """Each block as a table of all fields, or of these alone with types that are known."""
    from pyarrow import ArrowInvalid, BufferReader, json, schema

    parsing = json.ParseOptions()
    if only is not None:
        known = schema(list(only.items()))
        parsing = json.ParseOptions(explicit_schema=known, unexpected_field_behavior="ignore")
    with damage(place.name, "ndjson"):
        for block, before in _blocks(source):
            if only is None:  # the first of the two passes
                _check_lines(block, before, place.name)
            if block.isspace():
                continue
            reading = json.ReadOptions(use_threads=False, block_size=len(block) + 1)
            try:
                yield json.read_json(BufferReader(block), reading, parsing)
            except ArrowInvalid as error:
                raise ArrowInvalid(_by_line(str(error), block, before)) from None


def _blocks(source: str | BytesIO) -> Iterator[tuple[bytes, int]]:
    """Whole lines, about a block at once, and how many lines came before."""
    before = 0
    with open(source, "rb") if isinstance(source, str) else BytesIO(source.getvalue()) as file:
        while block := file.read(BLOCK_BYTES):
            block += file.readline()
            yield block, before
            before += block.count(b"\n")


def _check_lines(block: bytes, before: int, where: str) -> None:
    """Refuse what pyarrow does not survive: a line that is no object, one nested too deeply."""
    data = np.frombuffer(block, dtype=np.uint8)
    starts, stops = _lines(data)
    odd = (data[starts] != ord("{")) | (data[stops - 1] != ord("}"))
    for k in np.flatnonzero(odd):
        line = block[starts[k] : stops[k]].strip().removeprefix(b"\xef\xbb\xbf")
        if line and not (line.startswith(b"{") and line.endswith(b"}")):
            shown = line[:20].decode(errors="backslashreplace") + "..." * (len(line) > 20)
            raise FileError(
                f"{where}: line {before + k + 1} holds no whole object: '{shown}'; write one on "
                'each line, such as {"x": 1}'
            )
    opened = np.add.reduceat(_either(data, b"{["), starts, dtype=np.int32)
    for k in np.flatnonzero(opened > DEEPEST):
        if _depth(block[starts[k] : stops[k]]) > DEEPEST:
            raise FileError(
                f"{where}: line {before + k + 1} is nested more than {DEEPEST} deep; write "
                "numbers, text or lists of numbers"
            )


def _lines(data: NDArray[np.uint8]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Where each line of a block starts and stops, without its end mark."""
    ends = np.flatnonzero(data == ord("\n"))
    starts = np.concatenate([[0], ends + 1])
    stops = np.concatenate([ends, [len(data)]])
    if starts[-1] == len(data):
        starts, stops = starts[:-1], stops[:-1]
    carried = data[stops - 1] == ord("\r")  # at an empty line this looks at the one before
    return starts, np.maximum(stops - carried, starts)


def _either(data: NDArray[np.uint8], two: bytes) -> NDArray[np.bool_]:
    """Where either of two bytes is."""
    found: NDArray[np.bool_] = (data == two[0]) | (data == two[1])
    return found


def _depth(line: bytes) -> int:
    """How many objects and lists are open at once; brackets in text do not count."""
    data = np.frombuffer(STRING.sub(b"", line), dtype=np.uint8)
    steps = _either(data, b"{[").astype(np.int8) - _either(data, b"}]").astype(np.int8)
    return int(np.cumsum(steps, dtype=np.int64).max())


def _by_line(message: str, block: bytes, before: int) -> str:
    """The message with the line of the file where pyarrow counts rows of this block."""
    lines = [k for k, line in enumerate(block.split(b"\n")) if line.strip()]

    def numbered(row: re.Match[str]) -> str:
        return f"in line {before + lines[min(int(row[1]), len(lines) - 1)] + 1}"

    return re.sub(r"in row (\d+)", numbered, message)


def _joined(one: Any, other: Any, name: str, where: str) -> Any:
    """The type that holds the values of both: what one piece would have been read as."""
    import pyarrow
    from pyarrow import types

    if one is None or one == other or types.is_null(one):
        return other
    if types.is_null(other):
        return one
    if all(types.is_integer(type_) or types.is_floating(type_) for type_ in (one, other)):
        return pyarrow.float64()
    if all(types.is_timestamp(type_) or types.is_string(type_) for type_ in (one, other)):
        return pyarrow.string()  # what looks like a moment is text if all others are
    if types.is_list(one) and types.is_list(other):
        return pyarrow.list_(_joined(one.value_type, other.value_type, name, where))
    if types.is_struct(one) and types.is_struct(other):
        fields = {field.name: field.type for field in one}
        for field in other:
            fields[field.name] = _joined(fields.get(field.name), field.type, name, where)
        return pyarrow.struct(list(fields.items()))
    raise FileError(
        f"{where}: column '{name}' holds {one} in some lines and {other} in others; write it with "
        "one type"
    )
