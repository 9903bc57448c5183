"""`divmatch score`: many sample sets against one reference, in one process."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import click

from divmatch.cli.command import Command
from divmatch.cli.main import say
from divmatch.cli.options import (
    compute_options,
    gate_options,
    inference_options,
    input_options,
    option,
    output_options,
    progress_option,
)
from divmatch.cli.progress import Progress
from divmatch.cli.render import (
    Report,
    columns,
    delimited,
    delimited_header,
    flat,
    moved,
    ndjson_row,
    short,
    verdict_lines,
)
from divmatch.cli.session import Session, labelled, notes_of, show
from divmatch.cli.several import numbered, refuse_two_streams
from divmatch.errors import DivmatchError, SettingError, counted
from divmatch.estimator import Estimator, parse_metric, quantity
from divmatch.record import Note, Result
from divmatch.samples import Samples

Metric = tuple[str, Estimator, dict[str, Any]]  # its id, the estimator, checked settings
DELIMITERS = {"csv": ",", "tsv": "\t"}
DEFAULT_METRICS = "energy,mmd,sliced"


def run(**options: Any) -> int:
    """Score every sample set; a bad file is an error row, and the rest go on."""
    from divmatch.files import check_readable

    session, metrics = prepared(options)
    paths = sample_paths(options)
    check_readable([options["ref"]])
    session.spare([options["ref"], *paths])
    job = Job(session, metrics)
    rows: list[Result] = []
    with session.running(), Progress(options["progress"], len(paths), "score") as progress:
        job.open(options["ref"])
        streamed = Stream(options["output_format"])
        for path in paths:
            progress.at(path)
            for row in job.rows(path):
                rows.append(row)
                streamed.row(row)
            progress.done()
            if rows[-1].status == "error" and options["fail_fast"]:
                break
    session.settings |= {"metrics": [name for name, _, _ in metrics], **job.settings()}
    verdict = session.verdict(rows)
    return session.report(job.inputs, rows, verdict, say_results=not streamed.active, text=table)


def prepared(options: Mapping[str, Any]) -> tuple[Session, list[Metric]]:
    """What can be said before any data are read."""
    session = Session("score", options)
    return session, [parsed(text) for text in split_metrics(options["metrics"])]


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


class Job:
    """The reference, read once; its trees, bandwidth and within-sums live on its samples."""

    def __init__(self, session: Session, metrics: Sequence[Metric]) -> None:
        self.session = session
        self.metrics = metrics
        self.inputs: list[dict[str, Any]] = []
        self.scale = "none"

    def open(self, path: str) -> None:
        """Read the reference."""
        from divmatch.encoding import Encoder
        from divmatch.files import read_table

        self.reading = self.session.reading()
        self.encoder = Encoder(read_table(path, self.reading, role="ref"), self.reading)
        reference = self.encoder.reference
        self.name, self.scale = reference.name, str(reference.origin.get("scale", "none"))
        self.session.warn(notes_of(reference), f"{reference.name}: ")
        self._describe(reference, "ref")

    def settings(self) -> dict[str, Any]:
        """What the document says of the run."""
        return {"level": self.session.options["level"], "scale": self.scale}

    def rows(self, path: str) -> Iterator[Result]:
        """One result a metric; one error row if the file cannot be used."""
        try:
            reference, sample = self._read(path)
        except (DivmatchError, OSError) as error:
            yield self._failed(path, "input", None, error)
            return
        self._describe(sample, "sample")
        for name, estimator, settings in self.metrics:
            try:
                result = self.session.infer(estimator, reference, sample, settings)
            except DivmatchError as error:
                yield self._failed(path, name, estimator, error, (reference.n, sample.n))
                continue
            yield self._dressed(result, name, reference, sample)

    def _read(self, path: str) -> tuple[Samples, Samples]:
        from divmatch.files import check_readable, read_table

        check_readable([path])
        return self.encoder.candidate(read_table(path, self.reading, role="sample"))

    def _dressed(self, result: Result, name: str, reference: Samples, sample: Samples) -> Result:
        read = notes_of(sample)
        where = f"{sample.name}: "
        notes = (
            replace(note, message=note.message.removeprefix(where))  # named once is enough
            for note in (*read, *result.warnings)
        )
        self.session.warn(tuple(notes), f"{where}{name}: ")
        return replace(
            result,
            id=name,
            sample=sample.name,
            unit=labelled(result.unit, self.reading, reference),
            direction="ref->sample" if result.direction == "P||Q" else result.direction,
            warnings=(*read, *result.warnings),
            status="warn" if read and result.status == "ok" else result.status,
        )

    def _failed(
        self,
        path: str,
        name: str,
        estimator: Estimator | None,
        error: Exception,
        n: tuple[int, int] = (0, 0),
    ) -> Result:
        message = str(error)
        say(f"error: {message if path in message else f'{path}: {name}: {message}'}")
        return Result(
            metric=estimator.quantity.name if estimator else name,
            method=estimator.method if estimator else "",
            value=float("nan"),
            unit="",
            direction="ref->sample",
            n=n,
            d=0,
            id=name,
            sample=path,
            status="error",
            warnings=(Note("E00", message),),
            extra={"message": message},
        )

    def _describe(self, samples: Samples, role: str) -> None:
        from divmatch.provenance import input_info

        if self.session.needs_inputs():
            self.inputs.append(input_info(samples, role))
        else:
            self.inputs.append({"role": role, "name": samples.name})


class Stream:
    """Rows on standard output as they finish, for the formats that allow it."""

    def __init__(self, form: str) -> None:
        self.form = form
        self.active = form in ("ndjson", *DELIMITERS)
        if form in DELIMITERS:
            show(delimited_header(DELIMITERS[form]))

    def row(self, result: Result) -> None:
        """Print one row now."""
        if self.form == "ndjson":
            show(ndjson_row(result.as_dict()))
        elif self.active:
            show(delimited(flat(result.as_dict()), DELIMITERS[self.form]))


# ---------------------------------------------------------------------------------- the table


MOVED = "*"


def table(report: Report) -> str:
    """The league table: a row a sample set, sorted by the first metric, nearest first."""
    ids = report.document["settings"]["metrics"]
    sets = sample_sets(report.results)
    ordered = sorted(sets, key=lambda item: _rank(item[1].get(ids[0])))
    head = ["sample", "n", *(heading(name, report) for name in ids)]
    body = [[name, _size(found), *(_cell(found.get(i)) for i in ids)] for name, found in ordered]
    level = report.document["settings"]["level"]
    failed = [r for r in report.results if r.status in ("error", "inconclusive")]
    reference = report.name("ref")
    foot = f"reference {reference}; value [{level * 100:g}% interval]; smaller is nearer"
    if any(moved(result) for result in report.results):
        foot += f"; {MOVED} interval moved by the value's bias"
    lines = [*columns([head, *body]), foot]
    lost = sum(any(r in failed for r in found.values()) for _, found in sets)
    if lost:
        verb = "lacks" if lost == 1 else "lack"
        lines.append(f"{lost} of {counted(len(sets), 'sample set')} {verb} a number")
    return "\n".join([*lines, *verdict_lines(report), ""])


def sample_sets(results: Sequence[Result]) -> list[tuple[str, dict[str, Result]]]:
    """What to call each sample set, with its results by metric; equal names are numbered."""
    sets: list[tuple[str | None, dict[str, Result]]] = []
    for result in results:
        if not sets or result.sample != sets[-1][0] or result.id in sets[-1][1]:
            sets.append((result.sample, {}))
        sets[-1][1][result.id] = result
    called = numbered([str(sample) for sample, _ in sets])
    return [(name, found) for name, (_, found) in zip(called, sets, strict=True)]


def heading(name: str, report: Report) -> str:
    """The metric as the user wrote it, with the direction of asymmetric ones."""
    metric = name.partition(":")[0].strip()
    arrow = "(ref||sample)" if quantity(metric).direction == "P||Q" else ""
    return f"{name}{arrow}"


def _rank(result: Result | None) -> tuple[bool, float]:
    failed = result is None or result.value != result.value
    return (failed, 0.0 if failed or result is None else result.value)


def _size(found: Mapping[str, Result]) -> str:
    sizes = [result.n[1] for result in found.values() if result.n[1]]
    return str(sizes[0]) if sizes else "-"


def _cell(result: Result | None) -> str:
    if result is None or result.status in ("error", "inconclusive"):
        return result.status if result else "error"
    if result.ci is None:
        return short(result.value)
    mark = MOVED if moved(result) else ""
    mark += " p=" + short(result.test.p_value) if result.test else ""
    return f"{short(result.value)} [{short(result.ci.low)}, {short(result.ci.high)}]{mark}"


_SECTIONS: dict[str, list[click.Parameter]] = {
    "Reading": input_options(pair=False),
    "Uncertainty": inference_options(),
    "Limits": gate_options(),
    "Output": [*output_options(), progress_option()],
    "Machine": compute_options(),
}
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
            option("--fail-fast", is_flag=True, help="Stop at the first sample set with an error."),
            *(parameter for group in _SECTIONS.values() for parameter in group),
        ],
        examples=(
            "divmatch score real.npy gen.npy other.npy",
            "divmatch score real.npy gen.npy other.npy --metrics energy,mmd:kernel=laplace,kl:k=5 -f csv",
            "divmatch score real.npy gen.npy --max 0.05 --metrics energy -o scores.json",
        ),
        help="Score many sample sets against one reference: one row for each set and metric.\n\nThe "
        "reference is read once, and its neighbour trees, bandwidth and within-sums are computed "
        "once. The table is sorted by the first metric, nearest first. ndjson, csv and tsv rows "
        "appear as each set is done. A file that cannot be used is a row with status error, the "
        "rest go on, and the exit code is 2.",
        short_help="Score many sample sets against one reference: one row each.",
        sections=_SECTIONS,
        prepare=prepared,
        epilog="man divmatch-score has more.",
    )
}
