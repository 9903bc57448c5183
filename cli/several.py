"""What compare, rank and matrix share: one metric, and files that are read once and encoded together."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import click

from divmatch.catalogue import QUANTITIES
from divmatch.cli.main import printable
from divmatch.cli.options import (
    compute_options,
    gate_options,
    inference_options,
    input_options,
    option,
    output_options,
    progress_option,
)
from divmatch.cli.session import Session, labelled, notes_of
from divmatch.errors import SettingError
from divmatch.estimator import Estimator, parse_metric, quantity
from divmatch.record import Result
from divmatch.samples import Samples

METRIC = "energy"
UNREACHABLE = 1e9  # times as many rows: nobody has them


def metric_option() -> click.Option:
    """--metric, in the grammar of --metrics."""
    return option(
        "--metric",
        metavar="NAME",
        default=METRIC,
        show_default=True,
        callback=lambda context, parameter, text: spelled_out(text)[0],
        help="Divergence, with settings if wanted: energy, mmd:kernel=laplace, kl:method=nnr; of several "
        "figures one: prdc:kind=recall.",
    )


def spelled_out(text: str) -> list[str]:
    """A metric whose command gives several results, as that many: prdc:kind=precision, ..."""
    name, _, given = text.partition(":")
    if name.strip() not in QUANTITIES or "method=" in given:
        return [text]
    several = quantity(name.strip()).on_command
    for key, words in several.items():
        if all(part.partition("=")[0].strip() != key for part in given.split(",")):
            rest = f",{given}" if given else ""
            return [f"{name.strip()}:{key}={word}{rest}" for word in words.split(",")]
    return [text]


def sections(*, progress: bool = False) -> dict[str, list[click.Parameter]]:
    """The options of a command that reads several files, under their headings in the help."""
    return {
        "Reading": input_options(pair=False),
        "Uncertainty": inference_options(),
        "Limits": gate_options(),
        "Output": [*output_options(), *([progress_option()] if progress else [])],
        "Machine": compute_options(),
    }


def chosen_metric(options: Mapping[str, Any]) -> tuple[Estimator, dict[str, Any]]:
    """The estimator and the checked settings of --metric."""
    try:
        return parse_metric(options["metric"])
    except SettingError as error:
        raise SettingError(f"--metric: {error}") from None


def refuse_two_streams(names: Sequence[str | None]) -> None:
    """Standard input can be read once."""
    from divmatch.places import STANDARD_INPUT

    if sum((name or "").partition("::")[0] in STANDARD_INPUT for name in names) > 1:
        raise SettingError("-: standard input can be read only once; save an input to a file")


def read_all(session: Session, paths: Sequence[str], roles: Sequence[str]) -> tuple[Samples, ...]:
    """All files as samples with the same columns, on the scale of the first."""
    from divmatch.encoding import encode
    from divmatch.files import check_readable, read_table

    check_readable(list(paths))
    session.spare(paths)
    reading = session.reading()
    tables = (read_table(path, reading, role=role) for path, role in zip(paths, roles, strict=True))
    return encode(*tables, reading=reading)


def numbered(names: Sequence[str]) -> list[str]:
    """Names as they are shown; equal ones are numbered."""
    shown = [printable(name) for name in names]
    times = [shown[: k + 1].count(name) for k, name in enumerate(shown)]
    return [name if n == 1 else f"{name} ({n})" for name, n in zip(shown, times, strict=True)]


def presented(
    session: Session, samples: Sequence[Samples], results: Sequence[Result]
) -> list[Result]:
    """Results of differences as they are reported, and what the document says of all of them."""
    session.settings |= {
        "metric": session.options["metric"],
        "level": session.options["level"],
        "paired": session.options["paired"],
        "scale": samples[0].origin.get("scale", "none"),
    }
    read, reading = notes_of(*samples), session.reading()
    return [
        replace(
            result,
            unit=labelled(result.unit, reading, samples[0]),
            direction="ref->sample" if result.direction == "P||Q" else result.direction,
            warnings=(*(read if result is results[0] else ()), *result.warnings),
        )
        for result in results
    ]


def rows_to_settle(growth: float | None, n: Sequence[int]) -> list[int] | None:
    """Rows of each sample that would settle a gap, to two digits; none beyond any number of rows."""
    if growth is None or not growth < UNREACHABLE:
        return None
    return [int(float(f"{max(growth * rows, 2.0):.2g}")) for rows in n]


def settled_by(growth: float | None, n: Sequence[int]) -> str:
    """`about 160000 rows each`, or how many times as many where the sizes differ."""
    rows = rows_to_settle(growth, n)
    if growth is None or rows is None:
        return "no number of rows"
    return (
        f"about {rows[0]} rows each"
        if len(set(n)) == 1
        else f"about {float(f'{growth:.2g}'):.12g} times the rows"
    )
