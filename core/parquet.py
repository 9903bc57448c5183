"""Parquet: parts read as one, column by column; and result tables written."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import Any, BinaryIO

from divmatch.columns import not_found
from divmatch.errors import FileError
from divmatch.places import Place, damage
from divmatch.sources import Source, kind_of, load_arrow, naming, types_of


def parquet_source(place: Place, files: Sequence[str | BytesIO]) -> Source:
    """Parquet parts, opened one at a time; only the columns asked for are decoded."""
    from pyarrow import parquet

    arrow = load_arrow(place.name)

    def opened(file: str | BytesIO) -> Any:
        # A plain file, not a name: names with ':' would be taken for addresses.
        # Small buffers: reading ahead would hold several row groups at once.
        source = arrow.OSFile(file) if isinstance(file, str) else file
        return parquet.ParquetFile(source, buffer_size=1 << 16, pre_buffer=False)

    def named(file: str | BytesIO) -> str:
        return file if isinstance(file, str) and len(files) > 1 else place.name

    rows, types = 0, list[dict[str, Any]]()
    for file in files:
        with damage(named(file), ".parquet"), opened(file) as part:
            rows += part.metadata.num_rows
            schema = part.schema_arrow
        with naming(named(file)):
            types.append(types_of(schema))

    def batches(wanted: list[str], size: int) -> Iterator[Any]:
        for file, own in zip(files, types, strict=True):
            _check_part(named(file), own, {name: types[0][name] for name in wanted})
            with damage(named(file), ".parquet"), opened(file) as part:
                yield from part.iter_batches(batch_size=size, columns=wanted)

    return Source(types[0], rows, batches)


def _check_part(name: str, own: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Every part needs the columns of the first, of the same kind."""
    for column, first in wanted.items():
        if column not in own:
            raise FileError(f"{name}: {not_found(column, own)}")
        if kind_of(own[column]) != kind_of(first):
            raise FileError(
                f"{name}: column '{column}' holds {own[column]}, but {first} in the first part; "
                "write the parts with one type"
            )


def parquet_bytes(rows: Sequence[dict[str, Any]]) -> bytes:
    """Rows with the same keys as a Parquet file in memory."""
    arrow = load_arrow("parquet")
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
    arrow = load_arrow("parquet")
    import pyarrow.parquet as parquet

    schema = arrow.schema([(name, getattr(arrow, kind)()) for name, kind in kinds.items()])
    with parquet.ParquetWriter(file, schema) as writer:
        yield lambda columns: writer.write_table(arrow.table(columns, schema=schema))
