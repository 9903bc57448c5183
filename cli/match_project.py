"""`divmatch match project`: rows of probabilities replaced by the nearest ones that meet a condition."""

from collections.abc import Mapping
from typing import Any

import click

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
from divmatch.cli.project_job import streamed, writers
from divmatch.cli.project_results import report
from divmatch.cli.session import Session
from divmatch.errors import SettingError

HELP = """Rows of probabilities replaced by the nearest ones: on few classes, of an entropy, within limits.

Each row of P is a distribution p over classes and becomes a distribution q, by one of four options.
-o q.npy holds the new rows; the report has their mean divergence from the old ones.

--top-k K: min D(q, p) over distributions on at most K classes, Bregman top-k decoding. The support is
the K largest classes, the first ones of equals (W82). --penalty L: min D(q, p) + L k over k too; the
price is convex in k, so that bisection finds the best k of every row.

--generator: kl, where q is p divided by the mass that it keeps; alpha:A, phi(x) = x^A / (A (A - 1)), A
above 0: q = (p^(A-1) + nu)^(1/(A-1)), at 2 a summand for all, at large A levelled; itakura-saito, A = 0;
with --dual D(p, q). reverse-kl and itakura-saito are infinite where a class loses its mass: their q
is the nearest on the classes that stay, and --penalty is refused.

--entropy H: q = p^b / Z with H nats; b and its mean are reported, D is KL(q || p).

--constraint, several times: box:LOW,HIGH for every mass; moment:FILE.npy,T1,T2,... for means of the
rows of FILE over the classes; marginal:GROUPS.npy,MASSES.npy, where GROUPS has a number for each class
and MASSES one mass for each group; simplex alone, for --from numbers. The q of least KL(q || p), or with
--generator alpha:2 of least (q - p)^2 / 2, in all of the sets at once, by
Newton's steps on their multipliers or, of more than 64 equations, Dykstra's projections.

The file is streamed: it need not fit into the memory. --max and --min are limits of the divergence."""


def run(**options: Any) -> int:
    """One pass over the file: new rows out, their divergence in the report."""
    from divmatch.files import check_readable
    from divmatch.matrices import open_matrix

    session, wanted = prepared(options)
    check_readable([options["reference"]])
    session.spare([options["reference"]])
    arrays = [path for path in options["output"] if path.endswith(".npy")]
    kept = [path for path in options["output"] if path not in arrays]
    session.options = {**session.options, "output": kept}
    matrix = open_matrix(
        options["reference"], columns=options["columns"], stdin_format=options["stdin_format"]
    )
    if options["columns"] is not None and matrix.plain:
        raise SettingError(
            f"--columns: {matrix.name} is a plain array without column names; drop it"
        )
    with session.running(), writers(arrays, matrix, session.options["mkdir"]) as write:
        totals, settings = streamed(
            matrix, wanted(matrix), options, write, marked=session.needs_inputs()
        )
    return report(session, matrix, totals, settings)


def prepared(options: Mapping[str, Any]) -> tuple[Session, Any]:
    """What can be said before any data are read: the session, and the condition once P is known."""
    from divmatch.kernels.rows import Rows
    from divmatch.projection import checked, tolerance_of
    from divmatch.transport.bregman import generator_named

    session = Session("match project", {**options, "seed": "0"}, arrays=True)
    source = options["source"]
    for flag, given, where in (
        ("--temperature", options["temperature"] != 1.0, "logits"),
        ("--tolerance", options["tolerance"] is not None, "probabilities"),
    ):
        if given and source != where:
            raise SettingError(f"{flag}: has an effect only with --from {where}")
    given = {
        "top_k": options["top_k"],
        "penalty": options["penalty"],
        "entropy": options["entropy"],
        "generator": generator_named(options["generator"], dual=options["dual"]),
        "source": source,
    }
    texts = tuple(options["constraint"])
    if texts or any(given[name] is not None for name in ("top_k", "penalty", "entropy")):
        checked(
            **given, sets=texts
        )  # else `wanted` says what is missing: defaults may be checked alone
    if options["entropy"] is not None and options["generator"] != "kl":
        raise SettingError("--generator: has no effect with --entropy; leave it out")

    def wanted(matrix: Any) -> Any:
        from divmatch.sets import sets_named

        tolerance = options["tolerance"]
        if tolerance is None:
            tolerance = tolerance_of(matrix.bits // 8)
        rows = Rows(source, 1.0 / options["temperature"], tolerance)
        return checked(**given, sets=sets_named(texts, matrix.classes), rows=rows)

    return session, wanted


# ----------------------------------------------------------------------------------------- command

SECTIONS: dict[str, list[click.Parameter]] = {
    "Rows": [p for p in input_options(pair=False) if p.name in ("columns", "stdin_format")],
    "Uncertainty": [p for p in inference_options() if p.name == "level"],
    "Limits": gate_options(),
    "Output": [*output_options(), progress_option()],
    "Machine": compute_options(),
}

COMMANDS: dict[str, click.Command] = {
    "project": Command(
        "project",
        callback=run,
        params=[
            click.Argument(["reference"], metavar="P"),
            click.Option(
                ["--top-k"], metavar="K", type=WholeNumber(1), help="Keep at most K classes."
            ),
            click.Option(
                ["--penalty"], metavar="L", type=Number(0), help="Price of a class, in units of D."
            ),
            click.Option(
                ["--entropy"], metavar="H", type=Number(0), help="Temper to an entropy of H nats."
            ),
            click.Option(
                ["--constraint"],
                metavar="SET",
                multiple=True,
                help="simplex, box:LOW,HIGH, moment:FILE.npy,T or marginal:GROUPS.npy,MASSES.npy.",
            ),
            option(
                "--generator",
                metavar="kl|reverse-kl|itakura-saito|alpha:A",
                default="kl",
                show_default=True,
                help="Which Bregman divergence D.",
            ),
            option(
                "--dual", is_flag=True, help="D(p, q) in the place of D(q, p); alpha:A above 1."
            ),
            option(
                "--from",
                "source",
                type=choice("probabilities", "logits", "counts", "numbers"),
                default="probabilities",
                show_default=True,
                envvar="DIVMATCH_FROM",
                help="What the file holds.",
            ),
            option(
                "--temperature",
                metavar="T",
                type=Number(0, min_open=True),
                default=1.0,
                show_default=True,
                help="Logits are divided by T.",
            ),
            option(
                "--tolerance",
                metavar="X",
                type=Number(0),
                help="How far from 1 a row of probabilities may sum.",
            ),
            *(parameter for group in SECTIONS.values() for parameter in group),
        ],
        examples=(
            "divmatch match project teacher.npy --top-k 3 -o q.npy",
            "divmatch match project zt.npy --from logits --penalty 0.05 --generator alpha:1.5 -o q.npy",
            "divmatch match project teacher.npy --entropy 1.5 -o q.npy --max 0.5",
            "divmatch match project teacher.npy --constraint box:0.01,0.4 -o q.npy",
        ),
        help=HELP,
        short_help=HELP.partition("\n")[0],
        sections=SECTIONS,
        prepare=prepared,
        epilog="man divmatch-match-project has more.",
    )
}
