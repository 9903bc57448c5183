"""NDJSON, read twice: for the types of all fields, then for the chosen fields alone.

Blocks are cut at line ends and parsed one by one. pyarrow's own way over several blocks ends the
process where a later block holds another type than the first, and cannot turn null into a list.
"""

import re
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Any

from divmatch.errors import FileError
from divmatch.places import Place, damage
from divmatch.sources import Source

BLOCK_BYTES = 4 << 20  # text parsed at once, up to the end of its last line


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
    before = 0
    with damage(place.name, "ndjson"):
        for block in _blocks(source):
            reading = json.ReadOptions(use_threads=False, block_size=len(block) + 1)
            try:
                table = json.read_json(BufferReader(block), reading, parsing)
            except ArrowInvalid as error:  # which counts the rows of this block alone
                raise ArrowInvalid(_shifted(str(error), before)) from None
            before += table.num_rows
            yield table


def _shifted(message: str, rows: int) -> str:
    """The message with its row counted from the start of the file."""
    return re.sub(r"(?<=in row )\d+", lambda row: str(int(row[0]) + rows), message)


def _blocks(source: str | BytesIO) -> Iterator[bytes]:
    """Whole lines, about a block at once."""
    with open(source, "rb") if isinstance(source, str) else BytesIO(source.getvalue()) as file:
        while block := file.read(BLOCK_BYTES):
            block += file.readline()
            if not block.isspace():
                yield block


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
