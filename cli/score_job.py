"""The work of `divmatch score`: one reference, read once, and one sample set after another."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from divmatch.cli.journal import Journal
from divmatch.cli.score_groups import Groups
from divmatch.cli.score_kept import Kept
from divmatch.cli.score_rows import RowScores
from divmatch.cli.session import Session, labelled, notes_of, with_notes
from divmatch.errors import DivmatchError
from divmatch.estimator import Estimate, Estimator
from divmatch.record import Note, Result
from divmatch.samples import Samples

Metric = tuple[str, Estimator, dict[str, Any]]  # its id, the estimator, checked settings
Found = tuple[Result | DivmatchError, tuple[Estimate, Any] | None]
UNEQUAL = 1.1  # sizes further apart than this are not compared without a word


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
        self.groups = Groups(*metrics[0], Kept(journal.path))
        self.bundles = bundled(metrics)
        self.inputs: list[dict[str, Any]] = []
        self.scale = "none"
        self.first: tuple[str, int] | None = None  # the set that sizes are held against

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
        estimates: dict[str, Estimate] = {}
        for metrics in self.bundles:
            marks = {name: self._mark(name, reference, sample) for name, _, _ in metrics}
            known = {name: self.journal.result(mark) for name, mark in marks.items()}
            if self.row_file is not None:
                known = dict.fromkeys(known)
            wanted = [metric for metric in metrics if known[metric[0]] is None]
            found = iter(self._found(wanted, reference, sample))
            for metric in metrics:
                first = number if metric is self.metrics[0] else None
                old = known[metric[0]]
                if old is not None:
                    better = metric[1].quantity.better
                    old = replace(old, sample=sample.name, better=better)
                    self._resumed(old, sample, marks[metric[0]], first)
                    yield old
                    continue
                made, kept = next(found)
                if kept is not None:
                    estimates[metric[0]] = kept[0]
                both = reference, sample
                yield self._row(metric, both, made, kept, marks[metric[0]], first)
        if self.row_file is not None:
            self.row_file.add(reference, sample, estimates)

    def _resumed(
        self, result: Result, sample: Samples, mark: str | None, number: int | None
    ) -> None:
        """A finished row stands where it would stand had it been made now."""
        if result.status != "inconclusive" and self.first is None:
            self.first = (sample.name, sample.n)
        if number is not None:
            self.groups.resume(number, mark, result)

    def _found(self, metrics: Sequence[Metric], reference: Samples, sample: Samples) -> list[Found]:
        """Results or errors of metrics that share their searches, with what comparisons need."""
        if not metrics:
            return []
        kept: list[Any] = []
        results: list[Any] = []
        several = [settings for _, _, settings in metrics]
        try:
            results = self.session.infer_all(metrics[0][1], reference, sample, several, kept=kept)
        except DivmatchError as error:
            results = [error]
        if len(kept) == len(metrics) == len(results):
            return list(zip(results, kept, strict=True))
        if len(metrics) == 1:
            return [(results[0], None)]
        return [one for metric in metrics for one in self._found([metric], reference, sample)]

    def _row(
        self,
        metric: Metric,
        both: tuple[Samples, Samples],
        result: Result | DivmatchError,
        kept: tuple[Estimate, Any] | None,
        mark: str | None,
        number: int | None,
    ) -> Result:
        """One metric of one set; of the first metric the groups are told."""
        name, estimator, _ = metric
        reference, sample = both
        numbered = not isinstance(result, DivmatchError) and not math.isnan(result.value)
        if number is not None and kept is None and numbered:
            self.groups.spoil()  # a set without a number has no place in the table anyway
        if isinstance(result, DivmatchError):
            return self._failed(sample.name, name, estimator, result, (reference.n, sample.n))
        if kept is not None:
            estimate, spread = kept
            if self.session.options["extrapolate"]:
                result, estimate = self._extrapolated(metric, reference, sample, result, estimate)
            if number is not None:
                self.groups.add(number, both, (estimate, spread), result, mark)
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
            with_notes(result, read),
            id=name,
            sample=sample.name,
            unit=labelled(result.unit, self.reading, reference),
            direction="ref->sample" if result.direction == "P||Q" else result.direction,
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
        said = message if path in message else f"{path}: {name}: {message}"
        self.session.warn((Note("E00", said),))
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
        self.inputs += self.session.inputs([samples], [role])


def bundled(metrics: Sequence[Metric]) -> list[list[Metric]]:
    """Neighbouring metrics of one method that differ only in what shares its searches."""
    made: list[list[Metric]] = []
    for metric in metrics:
        if made and _alike(made[-1][0], metric):
            made[-1].append(metric)
        else:
            made.append([metric])
    return made


def _alike(one: Metric, other: Metric) -> bool:
    _, estimator, settings = one
    same = [s.name for s in estimator.settings if not s.many]
    return estimator is other[1] and all(settings[key] == other[2][key] for key in same)
