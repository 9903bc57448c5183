"""The options that many commands share: one spelling, one meaning, one declaration."""

from typing import Any

import click

FORMATS = ("text", "value", "json", "ndjson", "csv", "tsv", "markdown", "junit", "github")
KINDS = ("npy", "npz", "parquet", "csv", "tsv", "ndjson")
MOST_CERTAIN = 1 - 1e-12  # levels nearer to 1 have no normal quantile in double precision


def option(*flags: str, help: str, **rest: Any) -> click.Option:
    """One shared option; DIVMATCH_<NAME> sets its default."""
    name = max(flags, key=len).lstrip("-").split("/")[0].replace("-", "_")
    rest.setdefault("envvar", f"DIVMATCH_{name.upper()}")
    return click.Option(list(flags), help=help, **rest)


class Number(click.FloatRange):
    """A number in a range; NaN, which every comparison lets pass, is none."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Refuse NaN."""
        made: float = super().convert(value, param, ctx)
        if made != made:
            self.fail(f"{value!r} is not a number", param, ctx)
        return made


class Finite(click.types.FloatParamType):
    """Any number that is one."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Refuse NaN, and infinity, which no value could pass or fail."""
        made: float = super().convert(value, param, ctx)
        if made - made != 0:
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return made


class WholeNumber(click.IntRange):
    """A whole number in a range, called so where it is refused."""

    name = "whole number"


def choice(*words: str) -> click.Choice[str]:
    """One of some words."""
    return click.Choice(words)


def input_options(*, pair: bool) -> list[click.Parameter]:
    """How the files are read."""
    own = [
        option("--weights-p", metavar="W", help="Weights of P's rows: a column or a file."),
        option("--weights-q", metavar="W", help="Weights of Q's rows: a column or a file."),
    ]
    return [
        option(
            "--columns",
            metavar="LIST",
            help="Columns to use, by name or position: 'num:*,!id,emb', 0,2, 0-3.",
        ),
        option("--weights", metavar="COL", help="A column of row weights that the files share."),
        *(own if pair else []),
        option(
            "--na",
            type=choice("error", "drop", "mean", "category"),
            default="error",
            show_default=True,
            help="Missing values: refuse, drop the row, fill in the reference's mean, mark.",
        ),
        option("--sample", metavar="N|10%", help="Use a random part of the rows of each file."),
        option(
            "--scale",
            type=choice("auto", "none", "ref-sd", "ref-iqr", "ref-whiten"),
            default="auto",
            show_default=True,
            help="Divide columns by the reference's spread; auto: ref-iqr for tables, none for arrays.",
        ),
        option(
            "--categorical",
            type=choice("onehot", "error"),
            default="onehot",
            show_default=True,
            help="Text columns: one 0/1 column a category, or refuse.",
        ),
        option(
            "--stdin-format",
            type=choice(*KINDS),
            help="Format of standard input (-); sniffed if not given.",
        ),
    ]


def inference_options(*, permutations: int = 0) -> list[click.Parameter]:
    """Intervals, tests, randomness."""
    return [
        option(
            "--permutations",
            "-B",
            metavar="B",
            type=WholeNumber(0, 10_000_000),
            default=permutations,
            show_default=True,
            help="Permutations for a p-value; 0 for none.",
        ),
        option(
            "--level",
            metavar="L",
            type=Number(0, MOST_CERTAIN, min_open=True),
            default=0.95,
            show_default=True,
            help="Confidence level of the interval.",
        ),
        option(
            "--seed",
            metavar="S",
            default="0",
            show_default=True,
            help="Seed of all randomness, or `random` to draw and report one.",
        ),
    ]


def gate_options() -> list[click.Parameter]:
    """Limits that make the exit code 1."""
    return [
        option(
            "--max",
            "maximum",
            metavar="X",
            type=Finite(),
            envvar="DIVMATCH_MAX",
            help="Fail (exit 1) above X.",
        ),
        option(
            "--min",
            "minimum",
            metavar="X",
            type=Finite(),
            envvar="DIVMATCH_MIN",
            help="Fail (exit 1) below X.",
        ),
        option(
            "--decide",
            type=choice("lower", "point", "upper"),
            default="lower",
            show_default=True,
            help="What must cross the limit: the cautious confidence bound, the value, the other bound.",
        ),
        option(
            "--inconclusive",
            type=choice("pass", "fail"),
            help="Exit 0 or 1 instead of 3 when the data allow no decision.",
        ),
        option("--exit-zero", is_flag=True, help="Report, but exit 0 whatever a limit says."),
        option("--strict", is_flag=True, help="Turn warnings into errors (exit 2)."),
    ]


REPORT = "Also write FILE, format by suffix (.json .ndjson .csv .tsv .md .txt .xml .parquet)."


def output_options(written: str = REPORT) -> list[click.Parameter]:
    """Where results go and in which format; ``written`` says what -o takes."""
    return [
        option(
            "-f",
            "--format",
            "output_format",
            type=choice(*FORMATS),
            default="text",
            show_default=True,
            envvar="DIVMATCH_FORMAT",
            help="Format of standard output.",
        ),
        option(
            "-o",
            "--output",
            metavar="FILE",
            multiple=True,
            help=written,
        ),
        option("--mkdir", is_flag=True, help="Create missing folders of -o."),
        option(
            "--no-run", is_flag=True, help="Leave the timings out of JSON: same input, same bytes."
        ),
        option("-q", "--quiet", is_flag=True, help="No warnings on standard error."),
        option("-v", "--verbose", count=True, help="Explain automatic choices; -vv timings too."),
        option(
            "--color",
            type=choice("auto", "always", "never"),
            default="auto",
            show_default=True,
            help="Colour PASS and FAIL.",
        ),
    ]


def compute_options() -> list[click.Parameter]:
    """What the machine may use."""
    return [
        option(
            "--threads",
            "-j",
            "--jobs",
            metavar="N",
            type=WholeNumber(1, 1024),
            envvar="DIVMATCH_THREADS",
            help="Threads; all cores if not given. The digits do not depend on it.",
        ),
        option(
            "--device",
            type=choice("auto", "cpu", "gpu"),
            default="auto",
            show_default=True,
            help="Where the kernels run.",
        ),
        option(
            "--max-memory",
            "--memory",
            metavar="SIZE",
            envvar="DIVMATCH_MAX_MEMORY",
            help="Memory for temporary blocks, such as 2GiB or 25%; a quarter of the free if not given.",
        ),
        option("--config", metavar="FILE", help="Defaults from this TOML file."),
    ]


def progress_option() -> click.Option:
    """The progress of a long command."""
    return option(
        "--progress",
        type=choice("auto", "always", "never", "json"),
        default="auto",
        show_default=True,
        help="Progress on standard error: auto on a terminal, json as NDJSON events.",
    )


def _names() -> frozenset[str]:
    every = [
        *input_options(pair=True),
        *inference_options(),
        *gate_options(),
        *output_options(),
        *compute_options(),
        progress_option(),
    ]
    return frozenset(flag.lstrip("-") for p in every for flag in p.opts)


GENERAL = _names()
