"""--paired, --blocks, --cluster: which rows belong together, read from columns or files."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from divmatch.cli.options import option
from divmatch.cli.session import Session
from divmatch.errors import FileError, SampleError, SettingError, counted
from divmatch.samples import Samples

if TYPE_CHECKING:
    from divmatch.designs import Design, Marks
    from divmatch.tables import Reading, Table

ROW = "@row"
FLAGS = ("paired", "blocks", "cluster")


def design_options() -> list[click.Parameter]:
    """How rows of the two files belong together."""
    return [
        option(
            "--paired",
            metavar="KEY",
            envvar=None,
            help="Rows of P and Q with the same key are a pair, exchanged with each other alone: a "
            f"column of both tables, two files KEYS_P,KEYS_Q with one key a row, or {ROW} for rows "
            "at the same place. Rows without a partner are left out (W39).",
        ),
        option(
            "--blocks",
            metavar="COL",
            envvar=None,
            help="Labels are permuted within each block (day, site, batch) only: a column of both "
            "tables, or two files.",
        ),
        option(
            "--cluster",
            metavar="COL",
            envvar=None,
            help="Whole clusters of dependent rows (patient, session) are exchanged between P and Q, "
            "within --blocks if given: a column of both tables, or two files.",
        ),
    ]


@dataclass(frozen=True)
class Given:
    """One of the options: the column that both tables have, or a file for each."""

    flag: str
    text: str

    @property
    def pieces(self) -> list[str]:
        """One name, or two: a backslash guards a comma."""
        found = self.text.replace("\\,", "\0").split(",")
        return [piece.strip().replace("\0", ",") for piece in found]

    @property
    def files(self) -> list[str]:
        """A file for P and one for Q, or none."""
        return self.pieces if len(self.pieces) == 2 else []

    @property
    def column(self) -> str | None:
        """The column that is no part of the points, for --columns."""
        guarded = self.pieces[0].replace(",", "\\,")
        return None if self.files or self.text == ROW else guarded


def given_of(options: Mapping[str, Any]) -> list[Given]:
    """What the options ask for; refuse what cannot be combined, before any data are read."""
    given = [Given(f"--{flag}", options[flag]) for flag in FLAGS if options[flag] is not None]
    for one in given:
        if not all(one.pieces) or len(one.pieces) > 2:
            raise SettingError(
                f"{one.flag} {one.text}: expected a column, or two files separated by a comma"
            )
        if len(one.pieces) == 1 and os.path.isfile(one.text):
            raise SettingError(
                f"{one.flag} {one.text}: is one file; give one for P and one for Q, "
                f"{one.text},OTHER, or the same twice"
            )
        if one.text == ROW and one.flag != "--paired":
            raise SettingError(f"{one.flag} {ROW}: only --paired goes by the places of rows")
    if options["paired"] is not None:
        if len(given) > 1:
            raise SettingError(
                f"--paired: cannot be combined with {given[1].flag}; the rows of a pair are "
                "exchanged with each other alone"
            )
        if options["sample"] is not None:
            raise SettingError(
                "--sample: draws rows of P and of Q by themselves, --paired needs both rows of a "
                "pair; leave it out"
            )
    return given


def read_designed(
    session: Session, p: str, q: str, given: list[Given]
) -> tuple[Samples, Samples, "Design"]:
    """Both files as samples, with what the options say of their rows."""
    from divmatch.designs import marks
    from divmatch.encoding import encode
    from divmatch.files import check_readable, read_table

    files = [p, q, *(file for one in given for file in one.files)]
    check_readable(files)
    session.spare(files)
    reading = session.reading()
    tables = [
        read_table(path, _without_columns(path, given, reading), role=role)
        for path, role in ((p, "p"), (q, "q"))
    ]
    found = {}
    for one in given:
        sides = [
            _values(one, table, path, side, reading)
            for side, (table, path) in enumerate(zip(tables, (p, q), strict=True))
        ]
        found[one.flag] = made = marks(f"{one.flag} {one.text}", *sides)
        tables = [
            replace(table, beside={**table.beside, one.flag: codes.astype(float)})
            for table, codes in zip(tables, (made.x, made.y), strict=True)
        ]
    x, y = encode(*tables, reading=reading)
    kept = {
        flag: one.of(x.beside[flag].astype(int), y.beside[flag].astype(int))
        for flag, one in found.items()
    }
    x, y = (replace(samples, beside={}, _derived={}) for samples in (x, y))
    return _designed(x, y, kept)


def _without_columns(path: str, given: list[Given], reading: "Reading") -> "Reading":
    """The columns of the design are no data; next to a column picked by FILE::COLUMN they never are."""
    from divmatch.places import locate

    place = locate(path)
    hidden = [f"!{one.column}" for one in given if one.column is not None]
    if not hidden or (place.selector is not None and place.kind != "npz"):
        return reading
    return replace(reading, columns=",".join([*filter(None, [reading.columns]), *hidden]))


def _designed(
    x: Samples, y: Samples, found: Mapping[str, "Marks"]
) -> tuple[Samples, Samples, "Design"]:
    """The design, and the samples without the rows that it has no use for."""
    from divmatch.designs import blocked, clustered, paired

    if "--cluster" in found:
        return x, y, clustered(found["--cluster"], found.get("--blocks"))
    if "--blocks" in found:
        return x, y, blocked(found["--blocks"])
    design, rows_x, rows_y = paired(found["--paired"])
    return _without(x, rows_x, y.name), _without(y, rows_y, x.name), design


def _without(samples: Samples, rows: Any, other: str) -> Samples:
    """The samples at ``rows``; a warning says how many are left out."""
    left = samples.n - len(rows)
    if not left:
        return samples
    origin = dict(samples.origin)
    message = f"{samples.name}: {left} of {counted(samples.n, 'row')} left out, their keys are not in {other}"
    origin["notes"] = [*origin.get("notes", ()), ("W39", message)]
    origin["dropped"] = {**origin.get("dropped", {}), "unpaired": left}
    if samples.weights is not None and not samples.weights[rows].any():
        raise SampleError(f"{samples.name}: no row with a partner carries weight")
    return replace(samples.take(rows), origin=origin)


def _values(one: Given, table: "Table", path: str, side: int, reading: "Reading") -> Any:
    """What stands in the column for every row of the table that was read."""
    import numpy as np

    from divmatch.keys import read_keys

    if one.text == ROW:
        return np.arange(table.rows)
    if not one.files and table.kind == "stdin":
        raise FileError(
            f"{table.name}: {one.flag} {one.text}: standard input is read only once; write it to a "
            "file first, or give two files with what the column holds"
        )
    where, column = (one.files[side], None) if one.files else (path, one.pieces[0])
    values = read_keys(where, column, reading.stdin_format)
    if len(values) != table.rows:
        raise FileError(
            f"{where}: has {counted(len(values), 'row')}, {table.name} has {table.rows}; "
            f"{one.flag} needs one a row"
        )
    return values if table.picked is None else values[table.picked]
