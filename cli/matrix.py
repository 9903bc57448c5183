"""`divmatch matrix`: divergences of all pairs of sample sets."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import click
import numpy as np

from divmatch.cli.command import Command
from divmatch.cli.options import (
    option,
)
from divmatch.cli.progress import Progress
from divmatch.cli.report import Report, columns, short, verdict_lines
from divmatch.cli.session import Session, labelled, notes_of
from divmatch.cli.several import (
    chosen_metric,
    metric_option,
    numbered,
    read_all,
    refuse_two_streams,
    sections,
)
from divmatch.errors import InconclusiveError, SettingError
from divmatch.estimator import Estimator
from divmatch.record import Result
from divmatch.samples import Samples

HELP = """Divergences of all pairs of sample sets as a square table.

Row i and column j hold D(S_i || S_j), 0 on the diagonal, or nothing where larger is
nearer (prdc). Every file is read once, what concerns one
set alone (within-sums, trees) is computed once, and symmetric metrics once for each pair. All sets
are put on the scale of the first, and share its bandwidth where the metric has one.

-o FILE.csv, .tsv, .npy, .parquet and .md hold the square; JSON and NDJSON one result for each pair,
with intervals where they cost nothing; --intervals also those that need subsamples. --max and
--min are limits of every pair."""


def run(**options: Any) -> int:
    """Read all files, estimate all pairs, print the square."""
    session, estimator, settings = prepared(options)
    if len(options["samples"]) < 2:
        raise SettingError("expected at least two sample sets")
    paths = options["samples"]
    samples = read_all(session, paths, ["sample"] * len(paths))
    symmetric = estimator.quantity.direction_of(settings) == "symmetric"
    todo = list(pairs(len(samples), symmetric=symmetric))
    results = []
    with session.running(), Progress(options["progress"], len(todo), "matrix") as progress:
        shared = common(session, estimator, samples, settings)
        for i, j in todo:
            progress.at(f"{samples[i].name} {samples[j].name}")
            found = measured(session, estimator, samples[i], samples[j], {**settings, **shared})
            results.append(replace(found, extra={**found.extra, "row": i, "column": j}))
            progress.done()
    return report(session, samples, results)


def prepared(options: Mapping[str, Any]) -> tuple[Session, Estimator, dict[str, Any]]:
    """What can be said before any data are read."""
    session = Session("matrix", options, arrays=True)
    estimator, settings = chosen_metric(options)
    refuse_two_streams(options["samples"])
    return session, estimator, settings


def pairs(count: int, *, symmetric: bool) -> Iterator[tuple[int, int]]:
    """The pairs to compute, row by row."""
    for i in range(count):
        for j in range(i + 1 if symmetric else 0, count):
            if i != j:
                yield i, j


def common(
    session: Session, estimator: Estimator, samples: Sequence[Samples], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """What a table with one reference takes from it, taken from the first set: the bandwidth."""
    words = estimator.quantity.when_scoring
    names = [name for name in words if settings.get(name) == words[name]]
    if not names:
        return {}
    params = measured(session, estimator, samples[0], samples[1], settings).params
    return {name: params[name] for name in names}


def measured(
    session: Session, estimator: Estimator, x: Samples, y: Samples, settings: Mapping[str, Any]
) -> Result:
    """One pair; without an interval where it takes subsamples that were not asked for."""
    from divmatch.inference import estimate_of, result_of, seed_of

    if estimator.interval == "influence" or session.options["intervals"]:
        return session.infer(estimator, x, y, settings)
    from divmatch.kernels.execution import one_blas_thread
    from divmatch.samples import check_partners

    check_partners(x, y)
    try:
        with one_blas_thread(), np.errstate(all="ignore"):
            seeded = {**settings, **seed_of(estimator, session.seed)}
            estimate = estimate_of(estimator.summary, estimator, x, y, seeded)
            made = result_of(estimator, x, y, settings, estimate, None, session.options["level"])
    except InconclusiveError as error:
        return session.undecided_result(estimator, x, y, settings, error)
    notes = tuple(note for note in made.warnings if note.code != "W10")  # none was asked for
    return replace(made, warnings=notes, status="warn" if notes else "ok")


def report(session: Session, samples: Sequence[Samples], results: list[Result]) -> int:
    """Units, warnings, outputs, exit code."""
    read, metric = notes_of(*samples), session.options["metric"]
    names = numbered([one.name for one in samples])
    session.warn(read)
    made = []
    for one in results:
        pair = f"{names[one.extra['row']]} {names[one.extra['column']]}"
        session.warn(one.warnings, f"{pair}: ")
        made.append(
            replace(
                one,
                id=metric,
                sample=pair,
                unit=labelled(one.unit, session.reading(), samples[0]),
                warnings=(*(read if one is results[0] else ()), *one.warnings),
            )
        )
    session.settings |= {
        "metric": metric,
        "level": session.options["level"],
        "scale": samples[0].origin.get("scale", "none"),
        "names": names,
    }
    inputs = session.inputs(samples, ["sample"] * len(samples))
    return session.report(inputs, made, session.verdict(made), text=text_of, forms=FORMS)


def square(report: Report) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """The matrix; NaN where a pair has no number, and on the diagonal where 0 is not the nearest."""
    count = len(report.document["settings"]["names"])
    made = np.zeros((count, count))
    if report.results[0].better == "higher":
        np.fill_diagonal(made, np.nan)
    for one in report.results:
        i, j = one.extra["row"], one.extra["column"]
        made[i, j] = one.value
        if one.direction == "symmetric":
            made[j, i] = one.value
    return made


def text_of(report: Report) -> str:
    """The square with aligned columns."""
    return "\n".join([*columns(words(report)), foot(report), *verdict_lines(report), ""])


def words(report: Report) -> list[list[str]]:
    """The square in four digits, with names."""
    names = report.document["settings"]["names"]
    cells = [[short(value) for value in row] for row in square(report)]
    if report.results[0].better == "higher":
        for k, row in enumerate(cells):
            row[k] = "-"
    return [["", *names], *([name, *row] for name, row in zip(names, cells, strict=True))]


def foot(report: Report) -> str:
    """What the numbers are."""
    metric, first = report.document["settings"]["metric"], report.results[0]
    way = "" if first.direction == "symmetric" else "(row || column)"
    unit = "" if first.unit in ("", "1") else f" in {first.unit}"
    larger = "; larger is nearer" if first.better == "higher" else ""
    return f"{metric}{way}{unit}{larger}"


def markdown_of(report: Report) -> str:
    """The square for a pull request."""
    rows = [[cell.replace("|", "\\|") for cell in row] for row in words(report)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines.insert(1, "|---" + "|--:" * (len(rows) - 1) + "|")
    verdict = [f"**{line}**" for line in verdict_lines(report)]
    return "\n".join([*lines, "", foot(report), *verdict, ""])


def separated(report: Report, delimiter: str) -> str:
    """Names above and to the left; numbers round-trip, empty where a pair has none."""
    import csv
    import io

    names, buffer = report.document["settings"]["names"], io.StringIO()
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator="\n")
    writer.writerow(["sample", *names])
    for name, row in zip(names, square(report).tolist(), strict=True):
        writer.writerow([name, *("" if value != value else repr(value) for value in row)])
    return buffer.getvalue()


def npy_of(report: Report) -> bytes:
    """The square as an array in the order of the sets."""
    import io

    buffer = io.BytesIO()
    np.save(buffer, square(report))
    return buffer.getvalue()


def parquet_of(report: Report) -> bytes:
    """A row a set, a column a set."""
    from divmatch.files import parquet_bytes

    names = report.document["settings"]["names"]
    rows = zip(names, square(report).tolist(), strict=True)
    return parquet_bytes([{"sample": n, **dict(zip(names, r, strict=True))} for n, r in rows])


FORMS = {
    "csv": lambda report: separated(report, ","),
    "tsv": lambda report: separated(report, "\t"),
    "markdown": markdown_of,
    "npy": npy_of,
    "parquet": parquet_of,
}
_SECTIONS = sections(progress=True)
COMMANDS: dict[str, click.Command] = {
    "matrix": Command(
        "matrix",
        callback=run,
        params=[
            click.Argument(["samples"], metavar="S...", nargs=-1),
            metric_option(),
            option(
                "--intervals", is_flag=True, help="Intervals also where they need 100 subsamples."
            ),
            *(parameter for group in _SECTIONS.values() for parameter in group),
        ],
        examples=(
            "divmatch matrix real.npy gen.npy other.npy",
            "divmatch matrix gen/step-100.npy gen/step-200.npy gen/step-300.npy -o steps.npy",
            "divmatch matrix real.npy gen.npy other.npy --metric kl:method=gaussian -f csv",
        ),
        help=HELP,
        short_help="Divergences of all pairs of sample sets as a square table.",
        sections=_SECTIONS,
        prepare=prepared,
        epilog="man divmatch-matrix has more.",
    )
}
