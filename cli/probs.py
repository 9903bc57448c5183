"""`divmatch probs`: row-wise divergences of probabilities, logits or counts."""

from collections.abc import Mapping
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
from divmatch.cli.probs_job import (
    BATCH,
    NATS,
    Asked,
    asked,
    check_settings,
    is_file,
    job_of,
    opened,
    own_settings,
)
from divmatch.cli.probs_results import described, named, result, row_files, weight_notes
from divmatch.cli.progress import Progress
from divmatch.cli.render import form_of
from divmatch.cli.session import Session
from divmatch.errors import SampleError
from divmatch.estimators.row_means import block_rows, row_means
from divmatch.estimators.sinkd import Sinkd


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


def prepared(options: Mapping[str, Any]) -> tuple[Session, list[Asked]]:
    """What can be said before any data are read."""
    kinds = asked(options["kind"])
    check_settings(options, kinds)
    return Session("probs", {**options, "seed": "0"}), kinds


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
