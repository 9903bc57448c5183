"""What `divmatch match plan` writes: pairs of rows with mass and cost, as .parquet, .csv, .tsv or .npz."""

from collections.abc import Callable, Iterator
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from divmatch.cli.options import output_options
from divmatch.cli.plans import archive
from divmatch.cli.report import Report
from divmatch.match import Matched
from divmatch.samples import Samples

AT_ONCE = 1 << 16  # lines
WRITTEN = (
    "Write FILE: the pairs as .parquet .csv .tsv .npz, the report as .json .ndjson .md .txt .xml."
)


def pairs_options() -> list[click.Parameter]:
    """The shared ones; -o takes the pairs too."""
    return output_options(WRITTEN)


def pair_forms(found: Matched, x: Samples, y: Samples | None) -> dict[str, Callable[[Report], Any]]:
    """How each form is written; rows are numbers of rows in the files, from 0."""
    columns = columns_of(found, x, y)
    return {
        "csv": lambda _: "".join(lines(columns, ",")),
        "tsv": lambda _: "".join(lines(columns, "\t")),
        "parquet": lambda _: table(columns),
        "npz": lambda _: archive({**columns, **found.fit.arrays}),
    }


def columns_of(found: Matched, x: Samples, y: Samples | None) -> dict[str, NDArray[Any]]:
    """The table."""
    couples = found.couples
    assert couples is not None  # noqa: S101
    assert y is not None  # noqa: S101
    return {
        "row_p": numbered(couples.rows, x),
        "row_q": numbered(couples.columns, y),
        "mass": couples.masses,
        "cost": couples.costs,
    }


def numbered(rows: NDArray[Any], samples: Samples) -> NDArray[np.int64]:
    """Rows as they are counted in the file, of which some may have been left out."""
    places = samples.origin.get("places")
    return np.asarray(rows if places is None else places[rows], dtype=np.int64)


def lines(columns: dict[str, NDArray[Any]], delimiter: str) -> Iterator[str]:
    """Header and one line a pair; numbers round-trip."""
    yield delimiter.join(columns) + "\n"
    for start in range(0, len(columns["mass"]), AT_ONCE):
        parts = [values[start : start + AT_ONCE].tolist() for values in columns.values()]
        yield "".join(delimiter.join(map(repr, row)) + "\n" for row in zip(*parts, strict=True))


def table(columns: dict[str, NDArray[Any]]) -> bytes:
    """As Parquet."""
    import pyarrow
    from pyarrow import parquet

    sink = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.table(columns), sink)
    data: bytes = sink.getvalue().to_pybytes()
    return data
