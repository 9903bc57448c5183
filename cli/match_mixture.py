"""`divmatch match mixture`: Gaussian mixtures fitted to rows, merged, and reduced to fewer components."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import click

from divmatch.catalogue import QUANTITIES
from divmatch.cli.command import Command
from divmatch.cli.match_command import check_files
from divmatch.cli.match_options import checkpoint_option, shown_options
from divmatch.cli.options import (
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
from divmatch.cli.session import Session
from divmatch.errors import InconclusiveError, SampleError, SettingError

HELP = """Gaussian mixtures fitted to rows, merged, and reduced to fewer components.

Every P is a file of rows, which gets a mixture of --components Gaussians, or an .npz of this command,
which holds one. Several are merged, each with the share of the rows behind it (W56 where a file does
not know them): mixtures fitted to the parts of a table become one of the whole. --reduce K then leaves
K components. -o FILE.npz holds weights (K,), means (K, d), covariances (K, d, d), n, the number of rows,
and the names of the columns; `frechet --mixture` and `ksd --target FILE.npz` read it.

Fits are of maximum likelihood, by expectation-maximisation, weights counted as rows would be; the best
of --starts random starts is kept, and nothing depends on the columns' units. Nothing is added to the
covariances, unless a component collapses from every start (W52). Before is one Gaussian, after the
mixture, gain the difference: mean log-likelihoods a row, of fits to one half of the rows, measured on
the other, and back; --held-out FILE has rows of its own for it. A gain whose interval is above 0 is
worth its components; in a reduction it is what the reduction costs. --metric energy, or another
divergence, compares such rows with as many draws.

A reduction minimises the composite transportation divergence sum_l w_l min_k c(l, k). The cost c of
replacing a Gaussian by another is the Kullback-Leibler divergence (kl, where groups become the
Gaussian of their moments), the squared 2-Wasserstein distance (w2, their barycentre) or both
directions of the first (jeffreys). MW2^2, the least w2 cost of moving one mixture onto the other, is
told beside it; --trace has the curve, which never rises.

--max and --min are limits of the figure after, or of the reduction's divergence where no rows are looked
at. What is not converged (W68) decides no limit.

Source: Dempster, Laird & Rubin 1977 (J. Royal Statistical Society B 39); Zhang & Chen 2020 (arXiv
2002.08410); Delon & Desolneux 2020 (arXiv 1907.05254). Cost: O(K n d^2) an iteration of a fit, O(L K d^3)
of a reduction from L."""


def run(**options: Any) -> int:
    """Read, fit, merge, reduce, write."""
    from divmatch.cli.mixture_results import report, undecided

    session, plan = prepared(options)
    inputs, held_out = read(session, options["inputs"], options["held_out"])
    with session.running():
        from divmatch.cli.watching import Watched
        from divmatch.mixing import mixed

        with Progress(options["progress"], None, session.command) as progress:
            watch = Watched(
                progress, options["checkpoint"], identity(session, plan, inputs, held_out)
            )
            try:
                found = mixed(
                    inputs,
                    plan,
                    held_out=held_out,
                    metric=options["metric"],
                    level=options["level"],
                    seed=session.seed,
                    watch=watch,
                )
            except InconclusiveError as error:
                return undecided(session, plan, inputs, error)
        code = report(session, found, inputs, held_out)
        watch.finished()
        return code


class MixtureSession(Session):
    """A session whose -o FILE.npz is the mixture."""

    own: ClassVar[tuple[str, ...]] = (".npz",)

    def form_of(self, path: str) -> str:
        """The mixture's form, or that of a report."""
        return "npz" if path.lower().endswith(".npz") else super().form_of(path)


def prepared(options: Mapping[str, Any]) -> tuple[Session, Any]:
    """What can be said before any data are read."""
    from divmatch.mixing import Plan, measuring

    session = MixtureSession("match mixture", {**options, "scale": "none", "permutations": 0})
    check_files(session)
    names = ("components", "reduce", "cost", "starts", "steps")
    plan = Plan(**{name: options[name] for name in names})
    measuring(options["metric"])
    if options["metric"] == "none" and options["held_out"] is not None:
        raise SettingError("--held-out: has no effect with --metric none; leave one out")
    return session, plan


def read(session: Session, paths: Sequence[str], held_out: str | None) -> tuple[list[Any], Any]:
    """Mixtures as they are stored, rows with the same columns."""
    from divmatch.encoding import encode
    from divmatch.files import check_readable, read_table
    from divmatch.mixtures import read_mixture

    if not paths:
        raise SettingError("missing argument 'P': expected files of rows or mixtures")
    every = [*paths, *([] if held_out is None else [held_out])]
    check_readable(every)
    session.spare(every)
    reading = session.reading()
    known = [read_mixture(path) for path in paths]
    rows = [path for path, one in zip(paths, known, strict=True) if one is None]
    rows += every[len(paths) :]
    samples = []
    if rows:
        tables = [read_table(path, reading) for path in rows]
        for table in tables:
            refuse_categories(table)
        samples = list(encode(*tables, reading=reading))
    elif session.options["columns"] or session.options["weights"]:
        raise SettingError(
            "--columns, --weights: mixtures have no rows to choose from; leave it out"
        )
    measured = samples.pop() if held_out is not None else None
    waiting = iter(samples)
    return [next(waiting) if one is None else one for one in known], measured


def refuse_categories(table: Any) -> None:
    """Words have no Gaussian."""
    if table.categories:
        name = table.categories[0].name
        raise SampleError(
            f"{table.name}: column '{name}' holds categories, which have no Gaussian; leave it out with "
            f"--columns '!{name}'"
        )


def identity(session: Session, plan: Any, inputs: Sequence[Any], held_out: Any) -> str:
    """What a checkpoint must agree with."""
    if not session.options["checkpoint"]:
        return ""
    from divmatch.provenance import fingerprint

    prints = [fingerprint(one) for one in inputs]
    return repr((session.command, plan, session.seed, prints))


# ----------------------------------------------------------------------------------------- command


PRODUCT = (
    "Write FILE: the mixture as .npz, the report as .json .ndjson .csv .tsv .md .txt .xml .parquet."
)
PLOT = "Draw the mixture, before and after, column by column (needs matplotlib)."
SECTIONS: dict[str, list[click.Parameter]] = {
    "Reading": [p for p in input_options(pair=False) if p.name not in ("scale", "categorical")],
    "Before and after": [
        option(
            "--held-out",
            metavar="ROWS",
            envvar=None,
            help="Rows that the log-likelihoods are of, in the place of halves.",
        ),
        option(
            "--metric",
            metavar="NAME",
            default="log-likelihood",
            show_default=True,
            help="What before and after are measured with: log-likelihood; a divergence of held-out rows "
            f"from as many draws, {', '.join(QUANTITIES)}, with settings if wanted, such as "
            "mmd:kernel=laplace; or none.",
        ),
        *(p for p in inference_options() if p.name != "permutations"),
    ],
    "Limits of the figure after": gate_options(),
    "Output": [*output_options(PRODUCT), *shown_options(PLOT, watched=True)],
    "Machine": [
        *compute_options(),
        progress_option(),
        checkpoint_option(),
    ],
}

COUNT = partial(click.Option, type=WholeNumber(1), metavar="K")

COMMANDS: dict[str, click.Command] = {
    "mixture": Command(
        "mixture",
        callback=run,
        params=[
            click.Argument(["inputs"], metavar="P...", nargs=-1),
            COUNT(["--components"], help="How many Gaussians rows are given."),
            COUNT(["--reduce"], help="How many components are left in the end."),
            click.Option(
                ["--cost"],
                type=choice("kl", "w2", "jeffreys"),
                default="kl",
                show_default=True,
                help="What replacing one Gaussian by another costs.",
            ),
            click.Option(
                ["--starts"],
                metavar="N",
                type=WholeNumber(1),
                default=10,
                show_default=True,
                help="Random starts of every fit; a reduction has five times as many.",
            ),
            click.Option(
                ["--steps"],
                metavar="N",
                type=WholeNumber(1),
                default=1000,
                show_default=True,
                help="Iterations of either at most.",
            ),
            *(parameter for group in SECTIONS.values() for parameter in group),
        ],
        examples=(
            "divmatch match mixture real.npy --components 2 -o fitted.npz",
            "divmatch match mixture mixture.npz --reduce 1 -o small.npz",
            "divmatch match mixture mixture.npz other-mixture.npz --reduce 2 --cost w2 -o merged.npz",
            "divmatch match mixture real.npy other.npy --components 2 --reduce 2 --metric none -o both.npz",
        ),
        help=HELP,
        short_help=HELP.partition("\n")[0],
        sections=SECTIONS,
        prepare=prepared,
        epilog="man divmatch-match-mixture has more.",
    )
}
