"""Commands of the quantities whose inputs have a shape of their own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

import click

from divmatch.cli.command import Command
from divmatch.cli.estimate import finish, methods_text, prepared, settings_options
from divmatch.cli.options import (
    compute_options,
    gate_options,
    inference_options,
    option,
    output_options,
)
from divmatch.cli.session import Session
from divmatch.cli.single import reading_options, unscaled
from divmatch.errors import SampleError, counted
from divmatch.estimator import Quantity, quantity
from divmatch.samples import Samples
from divmatch.tables import Table

FILES = ".npy, .npz::key, .parquet, .csv, .tsv, .ndjson or -"
OWN = {"prototypes": "divmatch.cli.prototypes", "klom": "divmatch.cli.klom"}
PAIRS = {  # what the two files are called, how the second becomes numbers beside the rows
    "align": ("A", "B", "A and B hold the same rows, in the same order"),
    "density-gap": ("MEANS", "SDS", "MEANS and SDS have the same rows and columns"),
}


def shaped_command_of(name: str) -> click.Command:
    """The command of a quantity with inputs of its own."""
    if name in OWN:
        made: click.Command = import_module(OWN[name]).COMMAND
        return made
    return paired_command_of(name)


def paired_command_of(name: str) -> click.Command:
    """The command of a quantity of rows that stand in two files."""
    of = quantity(name)
    first, second, what = PAIRS[name]
    tested = name == "align"
    sections = {
        "Reading": paired_reading(of),
        "Uncertainty": uncertainty(tested=tested),
        "Limits": gate_options(),
        "Output": output_options(),
        "Machine": compute_options(),
    }

    def run(**options: Any) -> int:
        return estimate(of, options)

    def prepare(options: dict[str, Any]) -> object:
        return prepared(of, filled(of, options))

    return shaped_command(
        of,
        run,
        [
            click.Argument(["reference"], metavar=first),
            click.Argument(["candidate"], metavar=second),
        ],
        f"{what}: {FILES}.",
        sections,
        prepare,
    )


def shaped_command(
    of: Quantity,
    run: Callable[..., int],
    arguments: Sequence[click.Parameter],
    files: str,
    sections: Mapping[str, list[click.Parameter]],
    prepare: Callable[[dict[str, Any]], object],
) -> click.Command:
    """A command with its settings from the declaration."""
    return Command(
        of.name,
        callback=run,
        params=[
            *arguments,
            *settings_options(of),
            *(parameter for group in sections.values() for parameter in group),
        ],
        examples=of.examples,
        help=f"{of.help}\n\n{files}",
        short_help=of.help,
        sections=sections,
        prepare=prepare,
        notes=methods_text(of),
        epilog=f"man divmatch-{of.name} has formulas, ranges, biases, cost and sources.",
    )


def uncertainty(*, tested: bool) -> list[click.Parameter]:
    """The shared options, without permutations where there is nothing to permute."""
    return [p for p in inference_options() if tested or p.name != "permutations"]


def paired_reading(of: Quantity) -> list[click.Parameter]:
    """Rows are dropped from neither file: they would lose their partner."""
    shared = [p for p in reading_options(of) if p.name != "na"]
    own = option(
        "--weights-p",
        metavar="W",
        help="Weights of the rows: a column of the first file, or a file.",
    )
    at = next(k for k, p in enumerate(shared) if p.name == "weights") + 1
    return [*shared[:at], own, *shared[at:]]


def filled(of: Quantity, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a command does not offer, as the rest needs them."""
    return {"permutations": 0, "na": "error", **unscaled(of), **options}


def estimate(of: Quantity, options: dict[str, Any]) -> int:
    """Run one quantity on two files of the same rows."""
    session, chosen, several = prepared(of, filled(of, options))
    x, y = read_paired(session, options["reference"], options["candidate"])
    packed: Any = of.packed
    with session.running():
        sample, _ = packed(x, y)
        results = session.infer_all(chosen, sample, None, several)
    return finish(session, results, x, y)


def read_paired(session: Session, first: str, second: str) -> tuple[Samples, Samples]:
    """Both files, each on its own scale; with --sample the same rows of both."""
    from divmatch.encoding import encode
    from divmatch.files import check_readable, read_table

    check_readable([first, second])
    session.spare([first, second])
    reading = session.reading()
    tables = (
        read_table(first, reading, role="p"),
        read_table(second, replace(reading, weights_p=None), role="p"),
    )
    same_rows(*tables)
    x, y = (encode(table, reading=reading)[0] for table in tables)
    return x, replace(y, weights=None)


def same_rows(one: Table, other: Table) -> None:
    """Refuse files that cannot have the same rows."""
    if one.rows != other.rows:
        raise SampleError(
            f"{one.name} has {counted(one.rows, 'row')}, {other.name} has {other.rows}; both must "
            "hold the same rows in the same order"
        )
