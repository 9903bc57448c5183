"""What every command on data does around its own work: check, read, run, write, decide."""

import math
import os
import resource
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from divmatch.cli import gate, render
from divmatch.cli.main import GATE, INCONCLUSIVE, OK, OUTPUT, USAGE, say
from divmatch.cli.report import Report, text_of
from divmatch.errors import InconclusiveError, SettingError, counted
from divmatch.record import Note, Result, document
from divmatch.samples import Samples
from divmatch.tables import Reading

READ = (
    "weights_p",
    "weights_q",
    "log_q",
    "files_from",
    "margins",
    "config",
    "apply",
)
# Options that name an output beside -o.
WRITTEN = ("rows", "resume", "trace", "plot", "checkpoint", "fit", "weights_out")
OF_ALL = ("W41",)  # warnings of all samples together: no one file is their place
PRECEDENCE = (OUTPUT, USAGE, GATE, INCONCLUSIVE, OK)


@dataclass
class Session:
    """One run of a command: its options, its clock, what it has to say."""

    command: str
    options: Mapping[str, Any]
    started: float = field(default_factory=time.perf_counter)
    settings: dict[str, Any] = field(default_factory=dict)
    arrays: bool = False  # -o FILE.npy is possible
    plans: bool = False  # -o FILE.npz is possible
    own: ClassVar[tuple[str, ...]] = ()  # suffixes of -o that the command alone has
    said: set[str] = field(default_factory=set)  # lines on standard error

    def __post_init__(self) -> None:
        """Refuse outputs that cannot be written before any work is done."""
        from divmatch.budget import memory_budget
        from divmatch.outputs import check_writable

        self.seed = seed_of(str(self.options["seed"]))
        self.reading()
        memory_budget(self.options["max_memory"])
        for path in self.options["output"]:
            self.form_of(path)
        check_writable(self.options["output"], self.options["mkdir"])
        least, most = self.options["minimum"], self.options["maximum"]
        if least is not None and most is not None and least > most:
            raise SettingError(f"--min {least:g} is above --max {most:g}: no value could pass")

    def form_of(self, path: str) -> str:
        """The format that the name of an output asks for."""
        return render.form_of(path, arrays=self.arrays, plans=self.plans, own=self.own)

    def spare(self, inputs: Sequence[str]) -> None:
        """Refuse outputs that would replace an input, or become a part of one."""
        from divmatch.places import is_part

        beside = [(f"--{name.replace('_', '-')}", self.options.get(name)) for name in WRITTEN]
        named = [*(("-o", path) for path in self.options["output"]), *beside]
        for flag, path in named:
            if path is None:
                continue
            for name in (*inputs, *filter(None, map(self.options.get, READ))):
                if is_part(name, path):
                    same = os.path.isfile(path) and not os.path.isdir(name)
                    what = "is" if same else "would be a part of"
                    raise SettingError(
                        f"{flag} {path}: {what} the input {name}; choose another name"
                    )

    def reading(self) -> Reading:
        """The options that say how files are read."""
        columns = self.options.get("columns")
        if columns is not None and not columns.strip(" ,"):
            raise SettingError("--columns: names no column; leave it out to use all of them")
        names = (
            "columns",
            "weights",
            "na",
            "sample",
            "scale",
            "categorical",
            "stdin_format",
            "weights_p",
            "weights_q",
        )
        chosen = {name: self.options[name] for name in names if name in self.options}
        return Reading(**chosen, seed=self.seed)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Threads, memory and device for the kernels."""
        from divmatch.budget import available_threads, memory_budget
        from divmatch.kernels.backend import require_device
        from divmatch.kernels.execution import executing

        self.threads = self.options["threads"] or available_threads()
        memory = memory_budget(self.options["max_memory"])
        with executing(threads=self.threads, memory=memory, device=self.options["device"]):
            require_device()
            yield

    def infer(
        self,
        estimator: Any,
        x: Samples,
        y: Samples | None,
        settings: Mapping[str, Any],
        **asked: Any,
    ) -> Result:
        """Estimate with the interval, test and seed of the options; inconclusive without a number."""
        return self.infer_all(estimator, x, y, [settings], **asked)[0]

    def infer_all(
        self,
        estimator: Any,
        x: Samples,
        y: Samples | None,
        several: Sequence[Mapping[str, Any]],
        **asked: Any,
    ) -> list[Result]:
        """One result for each set of settings, from one pass over the data if all have a number.

        ``asked`` is what only some commands have: a design, a precision.
        """
        from divmatch.inference import infer_all, metric_id

        try:
            return infer_all(
                estimator,
                x,
                y,
                several,
                level=self.options["level"],
                permutations=self.options["permutations"],
                seed=self.seed,
                **asked,
            )
        except InconclusiveError as error:
            if len(several) > 1:
                return [
                    replace(
                        self.infer(estimator, x, y, settings, **asked),
                        id=metric_id(estimator, settings, len(several)),
                    )
                    for settings in several
                ]
            return [self.undecided_result(estimator, x, y, several[0], error)]

    def undecided_result(
        self,
        estimator: Any,
        x: Samples,
        y: Samples | None,
        settings: Mapping[str, Any],
        error: Exception,
    ) -> Result:
        """A result that has no number, and says why."""
        of = estimator.quantity
        return Result(
            metric=of.name,
            method=estimator.method,
            value=math.nan,
            unit=estimator.unit_of(settings),
            direction=of.direction_of(settings),
            n=(x.n,) if y is None else (x.n, y.n),
            d=x.d,
            params=settings,
            better=of.better,
            status="inconclusive",
            warnings=(Note("E01", str(error)),),
            extra={"message": str(error)},
        )

    def needs_inputs(self) -> bool:
        """Fingerprints are computed only for the format that carries them."""
        files = any(self.form_of(path) == "json" for path in self.options["output"])
        return files or self.options["output_format"] == "json"

    def inputs(self, samples: Iterable[Any], roles: Iterable[str]) -> list[dict[str, Any]]:
        """The inputs of the document."""
        both = zip(samples, roles, strict=True)
        if not self.needs_inputs():
            return [{"role": role, "name": one.name, "rows_used": one.n} for one, role in both]
        from divmatch.provenance import input_info

        return [input_info(one, role) for one, role in both]

    def limits(self) -> gate.Limits:
        """The limits of the options."""
        return gate.Limits(
            maximum=self.options["maximum"],
            minimum=self.options["minimum"],
            decide=self.options["decide"],
        )

    def warn(self, notes: Sequence[Note], where: str = "") -> None:
        """Coded warnings on standard error, unless -q; errors in any case; the same words once."""
        for note in notes:
            place = "" if note.code in OF_ALL else where
            if note.code.startswith("E"):
                line = f"error: {place}{note.message}"
            else:
                line = f"warning[{note.code}]: {place}{note.message}"
            quiet = self.options["quiet"] and not note.code.startswith("E")
            if line not in self.said and not quiet:
                self.said.add(line)
                say(line)

    def explain(self, message: str) -> None:
        """What -v adds on standard error."""
        if self.options["verbose"]:
            say(message)

    def run_block(self) -> dict[str, Any] | None:
        """Timings and machine: the only part that differs between identical runs."""
        if self.options["no_run"]:
            return None
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "elapsed_s": round(time.perf_counter() - self.started, 3),
            "cpu_s": round(usage.ru_utime + usage.ru_stime, 3),
            "peak_rss_mb": round(usage.ru_maxrss / (1 << (20 if sys.platform == "darwin" else 10))),
            "threads": getattr(self, "threads", 1),
            "engine": "numba" if "numba" in sys.modules else "numpy",
            "device": "gpu" if "cupy" in sys.modules else "cpu",
        }

    def report(
        self,
        inputs: list[dict[str, Any]],
        results: Sequence[Result],
        verdict: Mapping[str, Any] | None,
        *,
        say_results: bool = True,
        text: Any = None,
        forms: Mapping[str, Any] | None = None,
    ) -> int:
        """Write every output, then standard output; the exit code, as the document has it."""
        code = self.exit_code(results, verdict)
        whole = document(
            self.command,
            inputs,
            {"seed": self.seed, **self.settings},
            [result.as_dict() for result in results],
            verdict=verdict and _final(verdict, code),
            run=self.run_block(),
        )
        report = Report(whole, tuple(results), text or text_of, self._colour(), forms or {})
        from divmatch.outputs import write_whole

        for path in self.options["output"]:
            if path != "-":
                write_whole(
                    path,
                    render.rendered(report, self.form_of(path)),
                    mkdir=self.options["mkdir"],
                )
        if say_results:
            show(render.rendered(report, self.options["output_format"]))
        usage = f" ({self.run_block()})" if self.options["verbose"] > 1 else ""
        if usage:
            say(f"run{usage}")
        return code

    def exit_code(self, results: Sequence[Result], verdict: Mapping[str, Any] | None) -> int:
        """4 > 2 > 1 > 3 > 0 over everything that happened."""
        codes = [OK if verdict is None else int(verdict["exit_code"])]
        statuses = {result.status for result in results}
        if "error" in statuses:
            codes.append(USAGE)
        if "inconclusive" in statuses:
            codes.append(self.undecided())
        warned = sum(note.code.startswith("W") for r in results for note in r.warnings)
        if self.options["strict"] and warned:
            say(f"error: --strict: {counted(warned, 'warning')}")
            codes.append(USAGE)
        return next(code for code in PRECEDENCE if code in codes)

    def verdict(self, results: Sequence[Result]) -> dict[str, Any] | None:
        """The limits applied to the results, with the user's overrides of the exit code."""
        made = gate.verdict(results, self.limits())
        return made and self.overridden(made)

    def overridden(self, made: dict[str, Any]) -> dict[str, Any]:
        """--inconclusive and --exit-zero change the code, never the words."""
        if made["exit_code"] == INCONCLUSIVE:
            made["exit_code"] = self.undecided()
        if self.options["exit_zero"]:
            made["exit_code"] = OK
        return made

    def undecided(self) -> int:
        """The data allow no decision: exit 3, or what --inconclusive says."""
        if self.options["exit_zero"] or self.options["inconclusive"] == "pass":
            return OK
        return GATE if self.options["inconclusive"] == "fail" else INCONCLUSIVE

    def _colour(self) -> bool:
        wanted = self.options["color"]
        if wanted != "auto":
            return bool(wanted == "always")
        if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
            return False
        terminal = sys.stdout is not None and sys.stdout.isatty()
        return bool(os.environ.get("FORCE_COLOR")) or terminal


def _final(verdict: Mapping[str, Any], code: int) -> dict[str, Any]:
    """The verdict with the code that the process ends with: an error outweighs what was decided."""
    return {**verdict, "exit_code": code} | ({"status": "error"} if code == USAGE else {})


def show(data: str | bytes) -> None:
    """Result on standard output, and nothing else ever goes there."""
    if isinstance(data, str):
        sys.stdout.write(data)
    else:
        sys.stdout.buffer.write(data)
    sys.stdout.flush()


def seed_of(text: str) -> int:
    """The seed; `random` draws one and says which."""
    if text == "random":
        seed = int.from_bytes(os.urandom(4), "little")
        say(f"seed {seed}")
        return seed
    if not text.isdecimal() or len(text) > 19:
        raise SettingError(
            f"--seed {text[:40]}: expected a whole number of at most 19 digits, or random"
        )
    return int(text)


def labelled(unit: str, reading: Reading, samples: Samples) -> str:
    """The unit, with the data's own unit replaced by the scale that was applied."""
    scale = str(samples.origin.get("scale", "none"))
    return unit if scale == "none" else unit.replace("data unit", scale)


def notes_of(*samples: Samples) -> tuple[Note, ...]:
    """What reading a file had to say."""
    return tuple(Note(*note) for one in samples for note in one.origin.get("notes", ()))


def with_notes(result: Result, read: tuple[Note, ...]) -> Result:
    """The result with what reading the files had to say."""
    status = "warn" if read and result.status == "ok" else result.status
    return replace(result, warnings=(*read, *result.warnings), status=status)
