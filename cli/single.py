"""One command for each quantity of one sample, made from its declaration."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from divmatch.cli.command import Command
from divmatch.cli.estimate import (
    finish,
    methods_text,
    prepared,
    settings_options,
    unit_option,
)
from divmatch.cli.options import (
    choice,
    compute_options,
    gate_options,
    inference_options,
    input_options,
    option,
    output_options,
)
from divmatch.cli.session import Session
from divmatch.errors import SampleError, SettingError, at_row, counted
from divmatch.estimator import Quantity, quantity
from divmatch.samples import Samples, with_beside
from divmatch.settings import Setting
from divmatch.tables import Reading, Table

ARGUMENT = "P is a sample: .npy, .npz::key, .parquet, .csv, .tsv, .ndjson or -."


def single_command_of(name: str) -> click.Command:
    """The command of a quantity of one sample."""
    of = quantity(name)
    sections = {
        "Reading": reading_options(of),
        "Uncertainty": uncertainty_options(),
        "Limits": gate_options(),
        "Output": output_options(),
        "Machine": compute_options(),
    }

    def run(**options: Any) -> int:
        return estimate(of, options)

    def prepare(options: dict[str, Any]) -> object:
        return prepared(of, {**unscaled(of), **options})

    return Command(
        name,
        callback=run,
        params=[
            click.Argument(["reference"], metavar="P"),
            *settings_options(of),
            *([unit_option()] if of.unit == "nats" else []),
            *(parameter for group in sections.values() for parameter in group),
        ],
        examples=of.examples,
        help=f"{of.help}\n\n{ARGUMENT}",
        short_help=of.help,
        sections=sections,
        prepare=prepare,
        notes=methods_text(of),
        epilog=f"man divmatch-{name} has formulas, ranges, biases, cost and sources.",
    )


def reading_options(of: Quantity) -> list[click.Parameter]:
    """How the file is read; columns are scaled and categories spread only where that is harmless."""
    shared = {str(p.name): p for p in input_options(pair=False)}
    if of.scales == ("none",):
        del shared["scale"], shared["categorical"]
    else:
        shared["scale"] = option(
            "--scale",
            type=choice(*of.scales),
            default=of.scales[0],
            show_default=True,
            help="Divide columns by their spread; auto: ref-iqr for tables, none for arrays.",
        )
    shared["na"] = option(
        "--na",
        type=choice("error", "drop"),
        default="error",
        show_default=True,
        help="Missing values: refuse, or drop the row.",
    )
    return list(shared.values())


def uncertainty_options() -> list[click.Parameter]:
    """The shared ones; permutations mean what the test of one sample draws."""
    made = inference_options()
    for parameter in made:
        if isinstance(parameter, click.Option) and parameter.name == "permutations":
            parameter.help = (
                "Draws for a p-value: permutations, or the signs of a wild bootstrap; 0 for none."
            )
    return made


def unscaled(of: Quantity) -> dict[str, str]:
    """The options that a quantity does not offer, as reading the file needs them."""
    return {"scale": "none", "categorical": "error"} if of.scales == ("none",) else {}


def narrowed(of: Quantity, options: Mapping[str, Any]) -> dict[str, str]:
    """--columns where it is left out but both groups are named: what the others hold is no matter."""
    settings = of.settings()
    if "x" not in settings or "y" not in settings or options["columns"] is not None:
        return {}
    if options["x"] is None or not options["y"]:
        return {}
    several = settings["y"].repeated
    named = [options["x"], *(options["y"] if several else [options["y"]])]
    if any(mark in text for text in named for mark in "!=[:\\"):  # labels of encoded columns, kinds
        return {}
    return {"columns": ",".join(named)}


def estimate(of: Quantity, options: dict[str, Any]) -> int:
    """Run one quantity on one file."""
    session, chosen, several = prepared(of, {**unscaled(of), **options, **narrowed(of, options)})
    x = read_single(session, options["reference"], chosen.settings)
    with session.running():
        results = session.infer_all(chosen, x, None, several)
    return finish(session, results, x)


def read_single(session: Session, path: str, settings: Sequence[Setting]) -> Samples:
    """The file as samples, with the numbers of every other file beside its rows."""
    from divmatch.encoding import encode
    from divmatch.files import check_readable, read_table

    given = [(s, session.options[s.name]) for s in settings if s.per_row]
    given = [(setting, file) for setting, file in given if file is not None]
    inputs = [path, *(file for _, file in given)]
    check_readable(inputs)
    session.spare(inputs)
    table = read_table(path, session.reading(), role="p")
    (x,) = encode(table, reading=session.reading())
    for setting, file in given:
        if x.origin["dropped"].get("nan"):
            raise SettingError(
                f"--na drop with {setting.flag}: rows were dropped from {path}, not from {file}; "
                "drop them from both files first"
            )
        x = with_beside(x, setting.name, read_beside(file, table, setting.flag))
    return x


def read_beside(file: str, table: Table, flag: str) -> Any:
    """The numbers of a file of the table's shape, its columns and rows in the table's order."""
    import numpy as np

    from divmatch.files import read_table
    from divmatch.matching import aligned

    other = read_table(file, Reading(scale="none"))
    if other.rows != table.rows:
        raise SampleError(
            f"{file}: has {counted(other.rows, 'row')}, {table.name} has {table.rows}; "
            f"{flag} needs one a row"
        )
    if other.numbers.dtype.kind == "f" and not np.isfinite(other.numbers).all():
        row = int(np.flatnonzero(~np.isfinite(other.numbers).all(axis=1))[0])
        raise SampleError(
            f"{file}: NaN or infinite {at_row(row)}; {flag} needs a number for every row"
        )
    columns, _ = aligned(other, table, "error")
    values = other.numbers[:, columns]
    return values if table.picked is None else values[table.picked]
