"""`divmatch score`: many sample sets against one reference, in one process."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import click

from divmatch.catalogue import QUANTITIES
from divmatch.cli.command import Command
from divmatch.cli.journal import Journal, Stream
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
from divmatch.cli.score_groups import Groups
from divmatch.cli.score_rows import RowScores
from divmatch.cli.score_table import table
from divmatch.cli.session import Session, labelled, notes_of
from divmatch.cli.several import refuse_two_streams
from divmatch.errors import DivmatchError, SettingError
from divmatch.estimator import Estimate, Estimator, parse_metric, quantity
from divmatch.record import Note, Result
from divmatch.samples import Samples

Metric = tuple[str, Estimator, dict[str, Any]]  # its id, the estimator, checked settings
DEFAULT_METRICS = "energy,mmd,sliced"
UNEQUAL = 1.1  # sizes further apart than this are not compared without a word


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
    return session.report(job.inputs, rows, verdict, say_results=not streamed.active, text=table)


def prepared(options: Mapping[str, Any]) -> tuple[Session, list[Metric]]:
    """What can be said before any data are read."""
    from divmatch.cli.score_rows import check_rows
    from divmatch.outputs import check_writable

    session = Session("score", options)
    check_rows(options["rows"])
    written = [options[name] for name in ("rows", "resume") if options[name]]
    check_writable([*options["output"], *written], options["mkdir"])
    named = [one for text in split_metrics(options["metrics"]) for one in spelled_out(text)]
    if len(set(named)) < len(named):
        raise SettingError(f"--metrics: '{max(named, key=named.count)}' is named twice")
    return session, [parsed(text) for text in named]


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

    def __init__(
        self,
        session: Session,
        metrics: Sequence[Metric],
        journal: Journal,
        row_file: RowScores | None = None,
    ) -> None:
        self.session = session
        self.metrics = metrics
        self.journal = journal
        self.row_file = row_file
        self.groups = Groups()
        self.inputs: list[dict[str, Any]] = []
        self.scale = "none"
        self.first: tuple[str, int] | None = (
            None  # the first sample set, which sizes are held against
        )

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

    def rows(self, path: str, number: int) -> Iterator[Result]:
        """One result a metric, the first with this number; one error row if the file cannot be used."""
        try:
            reference, sample = self._read(path)
        except (DivmatchError, OSError) as error:
            yield self._failed(path, "input", None, error)
            return
        self._describe(sample, "sample")
        found: dict[str, Estimate] = {}
        for place, metric in enumerate(self.metrics):
            mark = self._mark(metric[0], reference, sample)
            known = None if mark is None else self.journal.result(mark)
            if known is not None and self.row_file is None:
                if place == 0:
                    self.groups.spoil()
                yield replace(known, sample=sample.name)
                continue
            yield self._scored(
                metric, reference, sample, mark, found, number if place == 0 else None
            )
        if self.row_file is not None:
            self.row_file.add(reference, sample, found)

    def _scored(
        self,
        metric: Metric,
        reference: Samples,
        sample: Samples,
        mark: str | None,
        found: dict[str, Estimate],
        number: int | None,
    ) -> Result:
        """One metric of one set; ``found`` is given its estimate, the groups those of the first."""
        name, estimator, settings = metric
        kept: list[Any] = []
        try:
            result = self.session.infer(estimator, reference, sample, settings, kept=kept)
        except DivmatchError as error:
            if number is not None:
                self.groups.spoil()
            return self._failed(sample.name, name, estimator, error, (reference.n, sample.n))
        if kept:
            estimate, spread = kept[0]
            found[name] = estimate
            if self.session.options["extrapolate"]:
                result, estimate = self._extrapolated(metric, reference, sample, result, estimate)
            if number is not None:
                both = (reference, sample)
                self.groups.add(number, estimator, both, (estimate, spread), result)
        if result.status != "inconclusive":
            result = self._sized(estimator, result, sample)
        made = self._dressed(result, name, reference, sample)
        if mark is not None:
            made = replace(made, extra={**made.extra, "fingerprint": mark})
            self.journal.add(made)
        return made

    def _mark(self, name: str, reference: Samples, sample: Samples) -> str | None:
        """The fingerprint of all that the number depends on."""
        if self.journal.path is None:
            return None
        from hashlib import blake2b

        from divmatch import __version__
        from divmatch.provenance import fingerprint

        options = self.session.options
        settings = [options[key] for key in ("level", "permutations", "extrapolate")]
        ref = reference.once("fingerprint", lambda: fingerprint(reference))
        own = sample.once("fingerprint", lambda: fingerprint(sample))
        whole = repr([__version__, ref, own, name, self.session.seed, *settings])
        return f"blake2b:{blake2b(whole.encode(), digest_size=8).hexdigest()}"

    def _extrapolated(
        self,
        metric: Metric,
        reference: Samples,
        sample: Samples,
        result: Result,
        estimate: Estimate,
    ) -> tuple[Result, Estimate]:
        """Without the bias, where the method says that there is one."""
        from divmatch.extrapolation import (
            extrapolated_estimate,
            extrapolated_result,
            parts_bias,
            widened,
        )
        from divmatch.inference import seed_of

        _, estimator, settings = metric
        bias = result.bias["estimate"] if result.bias else 0.0
        if estimator.biased is not None:
            fixed = {key: estimate.params.get(key, value) for key, value in settings.items()}
            fixed |= seed_of(estimator, self.session.seed)
            bias, se = parts_bias(estimator, reference, sample, fixed, seed=self.session.seed)
            result = widened(result, se)
            estimate = replace(estimate, error=math.hypot(estimate.error or 0.0, se))
        if not bias:
            return result, estimate
        return extrapolated_result(result, bias), extrapolated_estimate(estimate, bias)

    def _sized(self, estimator: Estimator, result: Result, sample: Samples) -> Result:
        """Say where biased numbers of samples of other sizes stand below each other."""
        if self.first is None:
            self.first = (sample.name, sample.n)
        name, n = self.first
        biased = estimator.biased is not None or bool(result.bias)
        cleared = result.bias is not None and result.bias["corrected"] == "value"
        if not biased or cleared or max(n, sample.n) <= UNEQUAL * min(n, sample.n):
            return result
        note = Note(
            "W31",
            f"{sample.n} rows, {n} in {name}: this metric is biased by their number; give "
            f"--extrapolate or --sample {min(n, sample.n)}",
        )
        return replace(result, warnings=(*result.warnings, note), status="warn")

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
            better=estimator.quantity.better if estimator else "lower",
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
                help="Also numbers of every row: witness or influence, distance to REF.",
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
        "the last set, so that rows printed before (ndjson, csv, tsv) lack them. Biased metrics "
        "(V-statistics, sliced) depend on the number of rows: W31 says where it differs, --extrapolate "
        "takes the bias off the value and its interval.",
        short_help="Score many sample sets against one reference: one row each.",
        sections=_SECTIONS,
        prepare=prepared,
        epilog="man divmatch-score has more.",
    )
}
