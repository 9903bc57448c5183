"""`divmatch score`: many sample sets against one reference, in one process."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import click

from divmatch.cli.command import Command
from divmatch.cli.journal import Journal, Stream
from divmatch.cli.options import (
    option,
)
from divmatch.cli.progress import Progress
from divmatch.cli.score_job import Job, Metric
from divmatch.cli.score_table import table
from divmatch.cli.session import Session
from divmatch.cli.several import refuse_two_streams, sections, spelled_out
from divmatch.errors import SettingError
from divmatch.estimator import parse_metric
from divmatch.record import Result

DEFAULT_METRICS = "energy,mmd,sliced"


def run(**options: Any) -> int:
    """Score every sample set; a bad file is an error row, and the rest go on."""
    from divmatch.cli.score_rows import row_scores
    from divmatch.files import check_readable

    session, metrics = prepared(options)
    paths = sample_paths(options)
    check_readable([options["ref"]])
    session.spare([options["ref"], *paths])
    names = [name for name, _, _ in metrics]
    rows: list[Result] = []
    with (
        session.running(),
        Progress(options["progress"], len(paths), "score") as progress,
        row_scores(options["rows"], names, mkdir=options["mkdir"]) as row_file,
    ):
        job = Job(session, metrics, Journal(options["resume"]), row_file)
        job.open(options["ref"])
        streamed = Stream(options["output_format"])
        for path in paths:
            progress.at(path)
            for row in job.rows(path, len(rows)):
                rows.append(row)
                streamed.row(row)
            progress.done()
            if rows[-1].status == "error" and options["fail_fast"]:
                break
    session.settings |= {"metrics": names, **job.settings()}
    rows = job.groups.lettered(rows, options["level"])
    verdict = session.verdict(rows)
    text = partial(table, why=job.groups.why)
    return session.report(job.inputs, rows, verdict, say_results=not streamed.active, text=text)


def prepared(options: Mapping[str, Any]) -> tuple[Session, list[Metric]]:
    """What can be said before any data are read."""
    from divmatch.cli.score_rows import check_rows
    from divmatch.outputs import check_writable

    session = Session("score", options)
    check_rows(options["rows"])
    Journal.check(options["resume"])
    written = [options[name] for name in ("rows", "resume") if options[name]]
    check_writable([*options["output"], *written], options["mkdir"])
    named = [one for text in split_metrics(options["metrics"]) for one in spelled_out(text)]
    if len(set(named)) < len(named):
        raise SettingError(f"--metrics: '{max(named, key=named.count)}' is named twice")
    return session, [parsed(text) for text in named]


def split_metrics(text: str) -> list[str]:
    """`energy,mmd:kernel=laplace,bandwidth=2,kl:k=5`: a part with = but no colon goes on with its metric."""
    found: list[str] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        if found and "=" in part and ":" not in part.partition("=")[0]:
            found[-1] += ("," if ":" in found[-1] else ":") + part
        else:
            found.append(part)
    if not found:
        raise SettingError("--metrics: expected at least one metric, such as energy")
    repeated = {name for name in found if found.count(name) > 1}
    if repeated:
        raise SettingError(f"--metrics: '{repeated.pop()}' is named twice")
    return found


def parsed(text: str) -> Metric:
    """A metric as (id, estimator, settings)."""
    try:
        estimator, settings = parse_metric(text)
    except SettingError as error:
        raise SettingError(f"--metrics: {error}") from None
    return text, estimator, settings


def sample_paths(options: Mapping[str, Any]) -> list[str]:
    """The sample sets of the command line and of --files-from."""
    paths = list(options["samples"])
    if options["nul"] and not options["files_from"]:
        raise SettingError("-0: ends the names in --files-from; give --files-from FILE too")
    if options["files_from"]:
        from divmatch.files import files_from

        paths += files_from(options["files_from"], options["nul"])
    if not paths:
        raise SettingError("no sample sets; name files after REF or give --files-from FILE")
    refuse_two_streams([options["ref"], *paths, options["files_from"]])
    return paths


_SECTIONS = sections(progress=True)
COMMANDS: dict[str, click.Command] = {
    "score": Command(
        "score",
        callback=run,
        params=[
            click.Argument(["ref"], metavar="REF"),
            click.Argument(["samples"], metavar="S...", nargs=-1),
            option(
                "--metrics",
                metavar="LIST",
                default=DEFAULT_METRICS,
                show_default=True,
                help="Metrics with settings: energy,mmd:kernel=laplace,kl:k=5.",
            ),
            option(
                "--files-from",
                metavar="FILE",
                help="Read names of sample sets from FILE (- for stdin).",
            ),
            click.Option(
                ["-0", "--null", "nul"], is_flag=True, help="Names in --files-from end with NUL."
            ),
            option(
                "--fail-fast/--keep-going",
                default=False,
                help="Stop at the first sample set with an error, or go on (the default).",
            ),
            option(
                "--extrapolate",
                is_flag=True,
                help="Biased metrics as with any number of rows: from parts of the rows, or the known bias.",
            ),
            option(
                "--resume",
                metavar="FILE.csv",
                help="Add finished rows to FILE.csv at once, and skip those that it holds.",
            ),
            option(
                "--rows",
                metavar="FILE.parquet",
                help="Also numbers of every row: nearest distance, log-ratio, authenticity, witness.",
            ),
            *(parameter for group in _SECTIONS.values() for parameter in group),
        ],
        examples=(
            "divmatch score real.npy gen.npy other.npy",
            "divmatch score real.npy gen.npy other.npy --metrics energy,mmd:kernel=laplace,kl:k=5 -f csv",
            "divmatch score real.npy gen.npy --max 0.05 --metrics energy -o scores.json",
            "divmatch score real.npy gen/step-100.npy gen/step-200.npy --resume scores.csv",
            "divmatch score real.npy gen.npy --metrics energy,kl:method=nnr --rows rows.parquet",
        ),
        help="Score many sample sets against one reference: one row for each set and metric.\n\nThe "
        "reference is read once, and its neighbour trees, bandwidth and within-sums are computed "
        "once. The table is sorted by the first metric, nearest first. ndjson, csv and tsv rows "
        "appear as each set is done. A file that cannot be used is a row with status error, the "
        "rest go on, and the exit code is 2.\n\nSets that share a letter cannot be told apart by the "
        "first metric: all pairs are compared as in `divmatch rank`, up to 100 sets. Letters come with "
        "the last set, so that rows printed before (ndjson, csv, tsv) lack them. --resume FILE.csv keeps "
        "what comparisons need in FILE.csv.groups, 11 bytes for each row of REF and set. Biased metrics "
        "(V-statistics, sliced) depend on the number of rows: W31 says where it differs, --extrapolate "
        "takes the bias off the value and its interval.\n\n--rows writes a row of numbers for every row of "
        "every set: nearest, its distance to REF; log_ratio, ln p/q from five neighbours, low where the "
        "set has rows that REF lacks; authentic, 0 for a copy; and for each metric the witness (energy, "
        "mmd: high where REF has fewer rows than the set) or the influence on the value.",
        short_help="Score many sample sets against one reference: one row each.",
        sections=_SECTIONS,
        prepare=prepared,
        epilog="man divmatch-score has more.",
    )
}
