"""`divmatch probs`: row-wise divergences of probabilities, logits or counts."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from divmatch.cli.command import Command
from divmatch.cli.options import (
    Number,
    WholeNumber,
    choice,
    compute_options,
    gate_options,
    inference_options,
    input_options,
    option,
    output_options,
    progress_option,
)
from divmatch.cli.progress import Progress
from divmatch.cli.render import form_of
from divmatch.cli.session import Session
from divmatch.errors import FileError, SampleError, SettingError
from divmatch.estimator import Quantity
from divmatch.estimators.row_means import (
    Batches,
    Job,
    Mean,
    Means,
    Sink,
    block_rows,
    check_partners,
    row_means,
    tolerance_for,
)
from divmatch.estimators.rows import RowKind, row_kind
from divmatch.estimators.sinkd import Sinkd, sinkd_eps
from divmatch.intervals import normal_quantile
from divmatch.kernels.rows import Rows
from divmatch.matrices import Matrix, open_matrix, open_vector
from divmatch.record import Interval, Note, Result

PROBS = Quantity(
    "probs", title="{kind}", unit="nats", direction="P||Q", default="rows", examples=()
)
NATS = {"nats": 1.0, "bits": 1.0 / math.log(2.0)}


@dataclass(frozen=True)
class Asked:
    """One kind of the command line; ``kind`` is None for sinkd, which is a number of batches."""

    name: str
    unit: str
    symmetric: bool
    kind: RowKind | None
    eps: float = 0.0


def run(**options: Any) -> int:
    """One pass over both files: a result a kind, and on request every row's values."""
    from divmatch.files import check_readable

    session, kinds = prepared(options)
    inputs = [options["reference"], options["candidate"]]
    inputs += [given for given in (options["mask"], options["weights"]) if is_file(given)]
    check_readable(inputs)
    session.spare(inputs)
    rows_files = [path for path in options["output"] if form_of(path) == "parquet"]
    session.options = {
        **session.options,
        "output": [path for path in options["output"] if path not in rows_files],
    }
    p, q = opened(options)
    with session.running():
        job, settings = job_of(options, kinds, p, q, marked=session.needs_inputs())
        total = -(-p.rows // block_rows(p, job))
        with (
            Progress(options["progress"], total, "probs") as progress,
            row_files(rows_files, kinds, session) as sink,
        ):

            def done(numbers: NDArray[np.int64], values: NDArray[np.float64]) -> None:
                progress.at(f"row {numbers[-1]}")
                sink(numbers, values)
                progress.done()

            found = row_means(p, q, job, done)
    if found.used == 0:
        raise SampleError(f"{options['mask'] or options['weights']}: leaves no row")
    extra = tuple(weight_notes(options["weights"], job))
    results = [
        result(one, mean, found, settings | own_settings(one, options), p, extra, session)
        for one, mean in zip(kinds, found.means, strict=True)
    ]
    if len(results) > 1:
        results = [named(r) for r in results]
    session.settings |= {"level": options["level"], **settings}
    for one in results:
        session.warn(one.warnings, f"{one.params['kind']}: " if len(results) > 1 else "")
    return session.report(described(p, q, job, found, options), results, session.verdict(results))


# ------------------------------------------------------------------------------------- settings


def prepared(options: Mapping[str, Any]) -> tuple[Session, list[Asked]]:
    """What can be said before any data are read."""
    kinds = asked(options["kind"])
    check_settings(options, kinds)
    return Session("probs", {**options, "seed": "0"}), kinds


def asked(text: str) -> list[Asked]:
    """The kinds of --kind, each once."""
    made = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        eps = sinkd_eps(part)
        if eps is None:
            kind = row_kind(part)
            made.append(Asked(kind.name, kind.unit, kind.symmetric, kind))
        else:
            name = "sinkd" if eps == Sinkd.eps else f"sinkd:{eps:g}"
            made.append(Asked(name, "1", True, None, eps))
    names = [one.name for one in made]
    if not made:
        raise SettingError("--kind: expected at least one kind, such as kl")
    for name in names:
        if names.count(name) > 1:
            raise SettingError(f"--kind: '{name}' is named twice")
    if sum(one.kind is None for one in made) > 1:
        raise SettingError("--kind: sinkd can be asked for once; run it again with another eps")
    return made


def check_settings(options: Mapping[str, Any], kinds: Sequence[Asked]) -> None:
    """Refuse options that would have no effect, before any file is opened."""
    logits, batched = options["source"] == "logits", any(one.kind is None for one in kinds)
    for flag, given, fits, where in (
        ("--temperature", options["temperature"] != 1.0, logits, "--from logits"),
        ("--times-t2", options["times_t2"], logits, "--from logits"),
        ("--tolerance", options["tolerance"] is not None, options["source"] == "probabilities", "--from probabilities"),  # noqa: E501
        ("--smooth", options["smooth"] != 0.0, options["source"] == "counts", "--from counts"),
        ("--batch", options["batch"] is not None, batched, "--kind sinkd"),
        ("--rounds", options["rounds"] is not None, batched, "--kind sinkd"),
        ("--per-sample", options["per_sample"], batched, "--kind sinkd"),
        ("--debiased", options["debiased"], batched, "--kind sinkd"),
    ):  # fmt: skip
        if given and not fits:
            raise SettingError(f"{flag}: has an effect only with {where}")
    if batched and options["weights"]:
        raise SettingError("--weights: sinkd counts every row of a batch once; drop one of them")
    if options["unit"] == "bits" and not any(one.unit == "nats" for one in kinds):
        raise SettingError(f"--unit bits: {kinds[0].name} is not measured in nats")


def own_settings(one: Asked, options: dict[str, Any]) -> dict[str, Any]:
    """What belongs to one kind alone."""
    if one.kind is not None:
        return {"kind": one.name}
    return {
        "kind": one.name,
        "eps": one.eps,
        "batch": options["batch"] or BATCH,
        "rounds": options["rounds"] or Sinkd.rounds,
        "per_sample": options["per_sample"],
        "debiased": options["debiased"],
    }


BATCH = 64


def job_of(
    options: dict[str, Any], kinds: Sequence[Asked], p: Matrix, q: Matrix, *, marked: bool
) -> tuple[Job, dict[str, Any]]:
    """The job, and its settings for the record."""
    source, temperature = options["source"], options["temperature"]
    tolerance = tolerance_for(p, q) if options["tolerance"] is None else options["tolerance"]
    settings: dict[str, Any] = {"from": source}
    if source == "logits":
        settings |= {"temperature": temperature, "times_t2": options["times_t2"]}
    elif source == "probabilities":
        settings["tolerance"] = tolerance
    elif options["smooth"]:
        settings["smooth"] = options["smooth"]
    times = temperature**2 if options["times_t2"] else 1.0
    factors = [times * (NATS[options["unit"]] if one.unit == "nats" else 1.0) for one in kinds]
    place = next((k for k, one in enumerate(kinds) if one.kind is None), None)
    batches = None
    if place is not None:
        rounds = options["rounds"] or Sinkd.rounds
        batches = Batches(
            Sinkd(kinds[place].eps, rounds, options["debiased"]),
            place,
            options["batch"] or BATCH,
            options["per_sample"],
        )
    keep, weights = chosen_rows(options, p, q)
    rows = Rows(source, 1.0 / temperature, tolerance)
    job = Job(
        [one.kind for one in kinds],
        np.array(factors),
        rows,
        options["smooth"],
        keep,
        weights,
        batches,
        marked,
    )
    return job, settings


# --------------------------------------------------------------------------------------- inputs


def is_file(given: str | None) -> bool:
    """Whether --mask or --weights names a file rather than a column."""
    return given is not None and (given.endswith(".npy") or ".npz" in given)


def opened(options: dict[str, Any]) -> tuple[Matrix, Matrix]:
    """Both matrices; nothing but headings is read."""
    aside = [name for name in (options["mask"], options["weights"]) if name and not is_file(name)]
    p, q = (
        open_matrix(
            options[role],
            columns=options["columns"],
            aside=aside,
            stdin_format=options["stdin_format"],
        )
        for role in ("reference", "candidate")
    )
    if options["columns"] is not None and p.plain and q.plain:
        raise SettingError(
            f"--columns: {p.name} and {q.name} are plain arrays without column names; drop it"
        )
    check_partners(p, q)
    return p, q


def chosen_rows(
    options: dict[str, Any], p: Matrix, q: Matrix
) -> tuple[NDArray[np.bool_] | None, NDArray[Any] | None]:
    """Which rows count, and how much; a row of weight 0 does not."""
    keep = weights = None
    if options["mask"]:
        mask = one_a_row(options["mask"], "--mask", p, q)
        if mask.dtype.kind == "f" and np.isnan(mask).any():
            raise SampleError(f"{options['mask']}: row {np.flatnonzero(np.isnan(mask))[0]} is NaN")
        keep = np.asarray(mask != 0)
    if options["weights"]:
        weights = one_a_row(options["weights"], "--weights", p, q)
        wrong = np.flatnonzero(~((weights >= 0) & (weights < np.inf)))
        if len(wrong):
            raise SampleError(
                f"{options['weights']}: weight {weights[wrong[0]]} at row {wrong[0]}; weights must "
                "be finite and at least 0"
            )
        keep = (weights > 0) if keep is None else keep & (weights > 0)
    return keep, weights


def one_a_row(given: str, flag: str, p: Matrix, q: Matrix) -> NDArray[Any]:
    """A vector from its own file or from a column of P or Q."""
    if is_file(given):
        vector = open_vector(given, p.rows, p.name)
        if vector.dtype.kind not in "biuf":
            raise FileError(f"{given}: holds {vector.dtype} values, not numbers")
        return vector
    for matrix in (p, q):
        if given in matrix.aside:
            return matrix.aside[given]
    raise FileError(
        f"{flag} {given}: neither {p.name} nor {q.name} has a column of this name, and it is no "
        ".npy or .npz file"
    )


# -------------------------------------------------------------------------------------- outputs


@contextmanager
def row_files(paths: Sequence[str], kinds: Sequence[Asked], session: Session) -> Iterator[Sink]:
    """Each row's values, written as they come: a column `row`, then one a kind."""
    from contextlib import ExitStack

    from divmatch.outputs import whole_file

    with ExitStack() as stack:
        writers = []
        for path in paths:
            from divmatch.parquet import parquet_rows

            file = stack.enter_context(whole_file(path, mkdir=session.options["mkdir"]))
            types = {"row": "int64"} | {one.name: "float64" for one in kinds}
            writers.append(stack.enter_context(parquet_rows(file, types)))

        def sink(numbers: NDArray[np.int64], values: NDArray[np.float64]) -> None:
            columns = {"row": numbers} | {one.name: values[:, k] for k, one in enumerate(kinds)}
            for write in writers:
                write(columns)

        yield sink


def result(
    one: Asked,
    mean: Mean,
    found: Means,
    settings: dict[str, Any],
    p: Matrix,
    extra: tuple[Note, ...],
    session: Session,
) -> Result:
    """One kind as a record: the mean of its rows with a normal interval."""
    level, se = session.options["level"], mean.se
    notes = [*extra, *infinite_notes(mean, found.used)]
    interval = None
    if se is not None:
        half = normal_quantile(0.5 + level / 2) * se
        interval = Interval(level, mean.mean - half, mean.mean + half, "influence")
    elif not mean.infinite:
        what = "batches" if one.kind is None else "rows"
        notes.append(Note("W10", f"{mean.count} {what}: too few for a standard error"))
    bits = session.options["unit"] == "bits" and one.unit == "nats"
    return Result(
        metric="probs",
        method="rows",
        value=mean.mean,
        unit="bits" if bits else one.unit,
        direction="symmetric" if one.symmetric else "P||Q",
        n=(found.used, found.used),
        d=p.classes,
        se=se,
        ci=interval,
        params=settings,
        status="warn" if notes else "ok",
        warnings=tuple(notes),
    )


def named(made: Result) -> Result:
    """The result with the id that tells it from the others of one command."""
    from dataclasses import replace

    return replace(made, id=f"probs:kind={made.params['kind']}")


def infinite_notes(mean: Mean, used: int) -> Iterator[Note]:
    """Where the mean is infinite, how many rows make it so."""
    if mean.infinite:
        yield Note(
            "W02",
            f"{mean.infinite} of {used} rows are infinite (first: row {mean.first_infinite}): one "
            "side has no mass on classes where the other has; js, tv and hellinger stay finite",
        )


def weight_notes(name: str | None, job: Job) -> Iterator[Note]:
    """A few rows that carry most of the weight."""
    if job.weights is None or job.keep is None:
        return
    weights = job.weights[job.keep].astype(np.float64)
    weights = weights / weights.max() if len(weights) else weights
    size, most = weights.sum() ** 2 / (weights**2).sum(), weights.max() / weights.sum()
    if size < 10 or most > 0.1:
        yield Note(
            "W08",
            f"{name}: the weights are worth {size:.3g} equal rows and the largest is {most:.0%} of "
            "the total",
        )


def described(
    p: Matrix, q: Matrix, job: Job, found: Means, options: dict[str, Any]
) -> list[dict[str, Any]]:
    """The inputs of the record; fingerprints only for the format that carries them."""
    if found.marks is None:
        return [{"role": "p", "name": p.name}, {"role": "q", "name": q.name}]
    left_out = p.rows - found.used
    return [
        {
            "role": role,
            "name": matrix.name,
            "kind": matrix.kind,
            "rows": matrix.rows,
            "cols": matrix.classes,
            "rows_used": found.used,
            "dropped": {"mask": left_out} if left_out else {},
            "weights": options["weights"],
            "ess": None,
            "fingerprint": mark,
        }
        for role, matrix, mark in zip("pq", (p, q), found.marks, strict=True)
    ]


# -------------------------------------------------------------------------------------- command

_SECTIONS: dict[str, list[click.Parameter]] = {
    "Rows": [
        option(
            "--mask",
            metavar="M",
            help="Rows that count: a column, or a .npy file; 0 leaves a row out, unread.",
        ),
        option("--weights", metavar="W", help="Weights of the rows: a column, or a .npy file."),
        *(p for p in input_options(pair=False) if p.name in ("columns", "stdin_format")),
    ],
    "SinKD": [
        option(
            "--batch",
            metavar="B",
            type=WholeNumber(1, 1 << 16),
            help=f"Rows of a batch.  [default: {BATCH}]",
        ),
        option(
            "--rounds",
            metavar="N",
            type=WholeNumber(1, 1_000_000),
            help=f"Normalisations of the plan.  [default: {Sinkd.rounds}]",
        ),
        option("--per-sample", is_flag=True, help="Divide a batch's total by its rows."),
        option(
            "--debiased", is_flag=True, help="Take off half of each batch's distance to itself."
        ),
    ],
    "Uncertainty": [p for p in inference_options() if p.name == "level"],
    "Limits": gate_options(),
    "Output": [*output_options(), progress_option()],
    "Machine": compute_options(),
}
HELP = """Row-wise divergences of probabilities, logits or counts: teacher P, student Q.

Row i of P and row i of Q are distributions over the same classes (one row a token or sample; arrays
of more dimensions are read as rows of their last). Each kind is computed for every row, exactly; the
result is the mean over the rows with its standard error. -o rows.parquet holds every row's values.
The files are streamed: neither has to fit into the memory.

Kinds: kl, reverse-kl, jeffreys, js, js-gan, skew-js:A, softened-rkl, hellinger, hellinger-gan, chi2,
neyman, le-cam, tv, alpha:A; renyi:A (A up to inf); alphanet (the larger of the clipped D_-1 and
D_1, clip 5; alphanet:A one of them, alphanet:A/CLIP), akl (adaptive KL; akl:SHARE sets the head,
0.5), bd-kd (2 KL(P || Q) + KL(Q || P) where H(Q) > H(P), else 1 and 2, a rule of our own; bd-kd:equal
1 and 1), sinkd (Sinkhorn distance of a batch in L1, eps 0.1; sinkd:EPS).

Probabilities must be at least 0 and sum to 1 within 1e-6 (float64), 1e-4 (float32) or 1e-2
(float16), and are divided by their sum. A class with mass in P alone makes kl infinite, and is
reported (W02), never smoothed.

For sinkd, batches are consecutive rows of the file, and the result is the total of a batch, as
published, averaged over the batches; a smaller last batch counts by its rows."""

COMMANDS: dict[str, click.Command] = {
    "probs": Command(
        "probs",
        callback=run,
        params=[
            click.Argument(["reference"], metavar="P"),
            click.Argument(["candidate"], metavar="Q"),
            option(
                "--kind",
                metavar="LIST",
                default="kl",
                show_default=True,
                help="Which divergences: kl, js, akl, skew-js:0.1, renyi:2, ...; several with commas.",
            ),
            option(
                "--from",
                "source",
                type=choice("probabilities", "logits", "counts"),
                default="probabilities",
                show_default=True,
                envvar="DIVMATCH_FROM",
                help="What the files hold.",
            ),
            option(
                "--temperature",
                metavar="T",
                type=Number(0, min_open=True),
                default=1.0,
                show_default=True,
                help="Logits are divided by T.",
            ),
            option("--times-t2", is_flag=True, help="Multiply by T^2, as distillation losses do."),
            option(
                "--smooth",
                metavar="L",
                type=Number(0),
                default=0.0,
                show_default=True,
                help="Add L to every count: 1 is Laplace's, 0.5 Jeffreys' rule.",
            ),
            option(
                "--tolerance",
                metavar="X",
                type=Number(0),
                help="How far from 1 a row of probabilities may sum.",
            ),
            option(
                "--unit",
                type=choice(*NATS),
                default="nats",
                show_default=True,
                help="Unit of the kinds measured in nats.",
            ),
            *(parameter for group in _SECTIONS.values() for parameter in group),
        ],
        examples=(
            "divmatch probs teacher.npy student.npy",
            "divmatch probs teacher.npy student.npy --kind kl,js,akl -o rows.parquet",
            "divmatch probs teacher.npy student.npy --from counts --kind js,tv --mask mask.npy -f json",
            "divmatch probs zt.npy zs.npy --from logits --temperature 2 --times-t2 --max 0.5",
        ),
        help=HELP,
        short_help="Row-wise divergences of probabilities, logits or counts.",
        sections=_SECTIONS,
        prepare=prepared,
        epilog="man divmatch-probs has more.",
    )
}
