"""Text: CSV, TSV and NDJSON."""

from collections.abc import Sequence
from io import BytesIO

from divmatch.errors import FileError
from divmatch.places import Place, damage
from divmatch.sources import Source, in_memory, naming

BLOCK_BYTES = 16 << 20  # text parsed at once; no row may be longer


def text_source(place: Place, kind: str, source: str | BytesIO) -> Source:
    """CSV, TSV or NDJSON as a whole: types are certain only at the end."""
    with damage(place.name, kind):
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
    with naming(place.name):
        return in_memory(table)


def _check_header(names: Sequence[str], where: str) -> None:
    """Refuse a first line of numbers: it is data, unless it counts the columns."""
    try:
        numbers = [float(name) for name in names]
    except ValueError:
        return
    if numbers and numbers != [float(k) for k in range(len(numbers))]:
        raise FileError(f"{where}: the first line holds numbers, expected names; add a header line")
