"""CSV and TSV, read twice: for the types of all columns, then for the chosen columns alone."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

from divmatch.errors import FileError, SampleError, at_row, counted
from divmatch.places import Place, damage
from divmatch.sources import Source, load_arrow, naming, types_of

NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
RAGGED = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+): (.*)", re.DOTALL)
BLOCKS = (1 << 20, 16 << 20)  # bytes of text parsed at once; no row may be longer than the last


def text_source(place: Place, kind: str, source: str | BytesIO) -> Source:
    """Stream CSV or TSV; types and the number of rows come from a pass over all of it."""
    arrow = load_arrow(place.name)

    def stream() -> Any:
        if isinstance(source, str):
            return arrow.OSFile(source)
        return arrow.BufferReader(source.getvalue())

    with damage(place.name, kind), _raggedness(place.name):
        schema, rows, layout = _surveyed(_Layout(kind), stream)
        if len(schema) == 1:  # a blank line is a row whose only value is missing
            layout = _Layout(kind, leading=_blank_lines(stream().read(1 << 16)))
            schema, rows, layout = _surveyed(layout, stream)
        _check_header(schema.names, place.name)
    with naming(place.name):
        types = types_of(schema)

    def batches(wanted: list[str], size: int) -> Iterator[Any]:
        from pyarrow import csv

        options = layout.options({name: types[name] for name in wanted})
        with damage(place.name, kind), csv.open_csv(stream(), **options) as reader:
            for batch in reader:
                for start in range(0, len(batch), size):
                    yield batch.slice(start, size)

    return Source(types, rows, batches, guessed=True)


def refuse_numbers(source: Source, where: str, name: str, words: Iterable[str]) -> None:
    """Refuse a column that is text only because of a few cells: its numbers are no categories."""
    distinct, numbers = 0, 0
    for word in words:
        distinct += 1
        numbers += _is_number(word)
    if not distinct / 2 < numbers < distinct:
        return
    first, values, bad, row = ("", 0), 0, 0, 0
    for batch in source.batches([name], 1 << 16):
        for value in batch.column(name).to_pylist():
            values += value is not None
            if value is not None and not _is_number(value):
                first = first if bad else (value, row)
                bad += 1
            row += 1
    shown = first[0] if len(first[0]) <= 20 else first[0][:20] + "..."
    raise SampleError(
        f"{where}: column '{name}' is text because of '{shown}' {at_row(first[1])}; {bad} of "
        f"{counted(values, 'value')} {'is' if bad == 1 else 'are'} no number: correct "
        f"{'it' if bad == 1 else 'them'}, leave the column out with --columns '!{name}', or say "
        f"that it holds categories with --columns '*,cat:{name}'"
    )


def _is_number(word: str) -> bool:
    return NUMBER.fullmatch(word) is not None


@dataclass(frozen=True)
class _Layout:
    """How a file is cut into rows; with ``leading``, blank lines are rows after that many."""

    kind: str
    block: int = 0
    leading: int | None = None

    def options(
        self, only: Mapping[str, Any] | None = None, *, threads: bool = True
    ) -> dict[str, Any]:
        """How all columns are read, or these alone with types that are known."""
        from pyarrow import csv

        chosen = {} if only is None else {"include_columns": list(only), "column_types": only}
        return {
            "read_options": csv.ReadOptions(
                block_size=self.block, skip_rows=self.leading or 0, use_threads=threads
            ),
            "parse_options": csv.ParseOptions(
                delimiter="\t" if self.kind == "tsv" else ",",
                ignore_empty_lines=self.leading is None,
            ),
            "convert_options": csv.ConvertOptions(strings_can_be_null=True, **chosen),
        }


def _surveyed(layout: _Layout, stream: Callable[[], Any]) -> tuple[Any, int, _Layout]:
    """Schema and number of rows as if the file were read in one piece; the block that serves.

    A stream takes its types from the first block and stops where a later value does not fit. They
    are tried from narrow to wide, so if all values fit, the whole file has these types too; else
    the file is read in one piece, which finds wider ones or says what is wrong.
    """
    from pyarrow import ArrowException, csv

    for block in BLOCKS:
        layout = replace(layout, block=block)
        with suppress(ArrowException), csv.open_csv(stream(), **layout.options()) as reader:
            return reader.schema, sum(len(batch) for batch in reader), layout
    try:
        table = csv.read_csv(stream(), **layout.options())
    except ArrowException:  # only one thread alone knows the row
        table = csv.read_csv(stream(), **layout.options(threads=False))
    return table.schema, table.num_rows, layout


@contextmanager
def _raggedness(where: str) -> Iterator[None]:
    """A row that is too short or too long is named by its number, as all messages count rows."""
    from pyarrow import ArrowInvalid

    try:
        yield
    except ArrowInvalid as error:
        found = RAGGED.search(str(error))
        if found is None:
            raise
        row, cells, shown = int(found[1]) - 2, int(found[3]), " ".join(found[4].split())
        raise FileError(
            f"{where}: has {counted(cells, 'cell')} {at_row(row)}, expected {found[2]} as in the "
            f"header: '{shown[:40] + '...' * (len(shown) > 40)}'; correct this row"
        ) from None


def _blank_lines(start: bytes) -> int:
    """How many blank lines a file starts with."""
    text = start.removeprefix(b"\xef\xbb\xbf")
    return len((text[: len(text) - len(text.lstrip(b"\r\n"))] + b".").splitlines()) - 1


def _check_header(names: Sequence[str], where: str) -> None:
    """Refuse a first line of numbers: it is data, unless it counts the columns."""
    try:
        numbers = [float(name) for name in names]
    except ValueError:
        return
    if numbers and numbers != [float(k) for k in range(len(numbers))]:
        raise FileError(f"{where}: the first line holds numbers, expected names; add a header line")
