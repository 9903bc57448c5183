"""`divmatch prototypes`: rows with classes, against the prototypes of other classes or another task."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from divmatch.cli.estimate import finish, prepared
from divmatch.cli.options import compute_options, gate_options, option, output_options
from divmatch.cli.session import Session
from divmatch.cli.shaped import FILES, shaped_command, uncertainty
from divmatch.cli.single import reading_options
from divmatch.errors import FileError, SampleError, SettingError, counted
from divmatch.estimator import quantity
from divmatch.estimators.prototypes import labelled
from divmatch.tables import Reading, Table

OF = quantity("prototypes")


def run(**options: Any) -> int:
    """Read the rows with their classes, and the other prototypes if there are any."""
    from divmatch.encoding import encode
    from divmatch.files import check_readable

    session, chosen, several = prepare(options)
    labels, others = options["labels"], options["others"]
    files = [path for path in (options["reference"], others) if path is not None]
    files += [name for name in (labels, options["others_labels"]) if name and is_file(name)]
    check_readable(files)
    session.spare(files)
    reading = session.reading()
    table, classes = read_classes(options["reference"], labels, reading, "p")
    tables, other_classes = [table], None
    if others is not None:
        other, other_classes = read_classes(others, options["others_labels"], reading, "q")
        tables.append(other)
    x, *rest = encode(*tables, reading=reading)
    y = rest[0] if rest else None
    with session.running():
        known = x if classes is None else labelled(x, classes, f"--labels {labels}")
        if y is not None and other_classes is not None:
            y = labelled(y, other_classes, f"--others-labels {options['others_labels']}")
        results = session.infer_all(chosen, known, y, several)
    return finish(session, results, *(s for s in (x, y) if s is not None))


def prepare(options: Mapping[str, Any]) -> tuple[Session, Any, list[dict[str, Any]]]:
    """What can be said before any data are read."""
    if options["others_labels"] and not options["others"]:
        raise SettingError("--others-labels: has an effect only with --others")
    if options["kl_scale"] and not options["others"]:
        raise SettingError("--kl-scale: needs the prototypes of another task; give --others")
    return prepared(OF, {"permutations": 0, "na": "error", "categorical": "onehot", **options})


def is_file(given: str) -> bool:
    """Whether labels are in a file of their own, and no column."""
    from divmatch.places import names_file

    return names_file(given)


def read_classes(
    path: str, labels: str | None, reading: Reading, role: str
) -> tuple[Table, NDArray[Any] | None]:
    """A table without its column of classes, and the class of every row that was read."""
    from divmatch.files import read_table

    if role == "q":  # other prototypes have no weights
        reading = replace(reading, weights=None)
    if labels is None:
        return read_table(path, reading, role=role), None
    if is_file(labels):
        table = read_table(path, reading, role=role)
        found = read_table(labels, Reading(scale="none"))
        if len(found.labels) + len(found.categories) != 1:
            raise FileError(
                f"{labels}: has several columns, expected one label a row; pick one with ::COLUMN"
            )
        if found.rows != table.rows:
            raise SampleError(
                f"{labels}: has {counted(found.rows, 'label')}, {table.name} has {counted(table.rows, 'row')}"
            )
        classes = one_column(found)
        return table, classes if table.picked is None else classes[table.picked]
    if path == "-":
        raise SettingError(
            f"--labels {labels}: standard input is read once; give the labels as a file"
        )
    own = replace(reading, weights=None, weights_p=None, columns=escaped(labels))
    classes = one_column(read_table(path, own, role=role))
    columns = ",".join(filter(None, (reading.columns, f"!{escaped(labels)}")))
    return read_table(path, replace(reading, columns=columns), role=role), classes


def escaped(name: str) -> str:
    """The name as --columns takes it."""
    return name.replace(",", "\\,")


def one_column(table: Table) -> NDArray[Any]:
    """The numbers or the codes of the only column; a missing one is no class."""
    values = table.codes[:, 0] if table.categories else table.numbers[:, 0]
    missing = values < 0 if table.categories else ~np.isfinite(values.astype(np.float64))
    if missing.any():
        row = table.row(int(np.flatnonzero(missing)[0]))
        raise SampleError(f"{table.name}: has no label at row {row} (from 0); drop the row first")
    return np.asarray(values)


_SECTIONS = {
    "Reading": [p for p in reading_options(OF) if p.name not in ("na", "categorical")],
    "Uncertainty": uncertainty(tested=False),
    "Limits": gate_options(),
    "Output": output_options(),
    "Machine": compute_options(),
}
COMMAND = shaped_command(
    OF,
    run,
    [
        click.Argument(["reference"], metavar="Z"),
        option(
            "--labels",
            metavar="COL|FILE",
            required=True,
            envvar=None,
            help="The class of every row: a column of Z, or a file with one label a row.",
        ),
        option(
            "--others",
            metavar="FILE",
            envvar=None,
            help="Other prototypes, one a row; with --others-labels rows of which they are the class means.",
        ),
        option(
            "--others-labels",
            metavar="COL|FILE",
            envvar=None,
            help="The class of every row of --others: a column of it, or a file.",
        ),
    ],
    f"Z holds the rows: {FILES}.",
    _SECTIONS,
    prepare,
)
