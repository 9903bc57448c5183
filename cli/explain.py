"""`divmatch explain`: which columns, pairs of columns and regions make Q differ from P."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from divmatch.cli.command import Command
from divmatch.cli.estimate import pair_sections
from divmatch.cli.explain_rows import check_rows, write_rows
from divmatch.cli.explain_text import text_of
from divmatch.cli.options import Number, WholeNumber, option
from divmatch.cli.render import value_of
from divmatch.cli.session import Session, notes_of, with_notes
from divmatch.cli.test import ALPHA, check_permutations, decided
from divmatch.errors import InconclusiveError
from divmatch.record import Interval, Note, Result, Test
from divmatch.samples import Samples

if TYPE_CHECKING:
    from divmatch.estimators.explanation import Explanation
    from divmatch.estimators.explanation import Number as Measured
    from divmatch.estimators.explanation_rules import Rule

PERMUTATIONS = 199
TOP = 5
BINS = 10
WHOLE = "difference"
METHOD = "ranks"


def run(**options: Any) -> int:
    """Read, test the whole, split it, find rules, write."""
    from divmatch.encoding import encode
    from divmatch.files import check_readable, read_table

    session = prepared(options)
    paths = [options["reference"], options["candidate"]]
    check_readable(paths)
    session.spare(paths)
    reading = session.reading()
    tables = [read_table(path, reading, role=role) for path, role in zip(paths, "pq", strict=True)]
    x, y = encode(*tables, reading=replace(reading, scale="none"))
    with session.running():
        try:
            results = explanation_of(x, y, session)
        except InconclusiveError as error:
            results = [undecided(x, y, error)]
        if options["rows"] is not None:
            scaled = encode(*tables, reading=reading)
            write_rows(options["rows"], scaled[0], scaled[1], mkdir=options["mkdir"])
            session.settings["scale"] = scaled[0].origin.get("scale", "none")
    return reported(session, results, x, y)


def prepared(options: Mapping[str, Any]) -> Session:
    """What can be said before any data are read."""
    from divmatch.outputs import check_writable

    session = Session("explain", options)
    if options["permutations"] or options["alpha"]:
        check_permutations(options["permutations"], options["alpha"])
    check_rows(options["rows"])
    if options["rows"] is not None:
        check_writable([*options["output"], options["rows"]], options["mkdir"])
    return session


def reported(session: Session, results: list[Result], x: Samples, y: Samples) -> int:
    """Warnings, outputs, exit code; limits are of the whole."""
    options, read = session.options, notes_of(x, y)
    results[0] = with_notes(results[0], read)
    for one in results:
        session.warn(one.warnings)
    names = ("level", "bins", "top", "alpha")
    session.settings |= {name: options[name] for name in names}
    verdict = decided(session, results[0], results[0])
    forms = {"value": lambda report: value_of(replace(report, results=report.results[:1]))}
    return session.report(session.inputs((x, y), "pq"), results, verdict, text=text_of, forms=forms)


def undecided(x: Samples, y: Samples, error: Exception) -> Result:
    """The data allow no number: exit 3."""
    return Result(
        metric=WHOLE,
        method=METHOD,
        value=math.nan,
        unit="1",
        direction="symmetric",
        n=(x.n, y.n),
        d=x.d,
        status="inconclusive",
        warnings=(Note("E01", str(error)),),
        extra={"message": str(error)},
    )


# ------------------------------------------------------------------------------------ results


def explanation_of(x: Samples, y: Samples, session: Session) -> list[Result]:
    """The whole first, then the shares, the pairs and the rules."""
    from divmatch.estimators.explaining import explain

    options = session.options
    names = ("bins", "top", "level", "permutations")
    chosen = {name: options[name] for name in names}
    account = explain(x, y, alpha=options["alpha"] or ALPHA, seed=session.seed, **chosen)
    found, make = account.parts, Maker((x, y), options["level"])
    whole = make.result(WHOLE, WHOLE, found.whole, test=account.test)
    whole = replace(whole, params={"bins": options["bins"]}, warnings=merged(found))
    told = [make.rule(rule) for rule in account.rules]
    if not account.seen:
        note = Note("W76", nothing(account.test, found, options["level"]))
        return [warned(replace(whole, warnings=(*whole.warnings, note))), *told]
    return [warned(whole), *make.shares(found), *make.pairs(found, options["top"]), *told]


def nothing(test: Test | None, found: "Explanation", level: float) -> str:
    """Why there are no shares."""
    if found.whole.value <= 0:
        why = "the difference without its bias is not above 0"
    elif test is None:
        why = f"the {level * 100:g}% interval of the difference holds 0"
    else:
        why = f"rows of one distribution differ as much (p = {test.p_value:.3g})"
    return f"nothing to explain: {why}, so no column has a share of it"


def merged(found: "Explanation") -> tuple[Note, ...]:
    """Columns of many categories."""
    return tuple(
        Note("W77", f"column '{name}' has more categories than --bins: the rarest are one in the "
             "dependence, and themselves in the marginal part")
        for name in found.merged
    )  # fmt: skip


def warned(result: Result) -> Result:
    """The status that warnings make."""
    return replace(result, status="warn" if result.warnings else "ok")


class Maker:
    """Results of two samples at one level."""

    def __init__(self, samples: tuple[Samples, Samples], level: float) -> None:
        from divmatch.intervals import normal_quantile

        self.samples, self.level = samples, level
        self.z = normal_quantile(0.5 + level / 2)

    def result(
        self, metric: str, id: str, number: "Measured", columns: Sequence[str] = (), **rest: Any
    ) -> Result:
        """A number with its normal interval."""
        from divmatch.estimators.explanation_features import columns_of

        low, high = (number.value + side * self.z * number.se for side in (-1, 1))
        return Result(
            metric=metric,
            method=METHOD,
            value=number.value,
            unit="1",
            direction="symmetric",
            n=tuple(one.n for one in self.samples),
            d=len(columns) or len(columns_of(self.samples[0])),
            se=number.se,
            ci=Interval(self.level, low, high, "influence"),
            id=id,
            extra={"columns": list(columns)} if columns else {},
            **rest,
        )

    def shares(self, found: "Explanation") -> list[Result]:
        """Of all marginals and all dependence, then of every column, the largest first."""
        from divmatch.estimators.explanation_views import typical

        assert found.shares is not None  # noqa: S101
        parts = ("marginal", "dependence")
        made = [
            self.result("share", f"share:part={part}", number, params={"part": part})
            for part, number in zip(parts, found.shares, strict=True)
        ]
        effects = [(one, one.shares) for one in found.effects if one.shares is not None]
        for effect, shares in sorted(effects, key=lambda one: -one[1][0].value):
            name = effect.column.name
            seen: tuple[dict[str, Any], ...] = (
                typical(effect.column, *self.samples),
                {"value": effect.marginal.value},
                {"value": effect.dependence.value},
            )
            for part, number, more in zip(("all", *parts), shares, seen, strict=True):
                params = {"column": name, "part": part, **more}
                id = f"share:column={name}" + (f",part={part}" if part != "all" else "")
                made.append(self.result("share", id, number, [name], params=params))
        return made

    def pairs(self, found: "Explanation", top: int) -> list[Result]:
        """The dependence of the pairs of columns that differ most."""
        from divmatch.estimators.explanation_views import rank_correlation

        made = []
        for j, other, number in sorted(found.pairs, key=lambda pair: -pair[2].value)[:top]:
            if number.value - self.z * number.se <= 0:
                break
            one, two = (found.effects[k].column for k in (j, other))
            names = [one.name, two.name]
            params: dict[str, Any] = {"share": number.value / found.whole.value}
            both = [rank_correlation(one, two, sample) for sample in self.samples]
            if None not in both:
                params["rank_correlation"] = both
            id = f"dependence:columns={','.join(names)}"
            made.append(self.result("dependence", id, number, names, params=params))
        return made

    def rule(self, rule: "Rule") -> Result:
        """A rule: how much of Q it holds by how much of P."""
        notes: tuple[Note, ...] = ()
        if math.isinf(rule.ratio):
            notes = (Note("W02", f"{rule.text}: no such row in the half of P that tested it"),)
        return Result(
            metric="rule",
            method="clopper-pearson",
            value=rule.ratio,
            unit="1",
            direction="P||Q",
            n=rule.rows,
            d=len(rule.columns),
            ci=Interval(self.level, rule.low, rule.high, "clopper-pearson"),
            test=Test(rule.p_value, "clopper-pearson", 0, {}, adjusted=rule.adjusted),
            params={"rule": rule.text, "masses": list(rule.masses)},
            status="warn" if notes else "ok",
            id=f"rule:{rule.text}",
            warnings=notes,
            extra={"columns": list(rule.columns)},
        )


# ------------------------------------------------------------------------------------ command

HELP = """Which columns, pairs of columns and regions make Q differ from P.

First whether there is anything to explain: T, and a permutation test of it. Then T in parts that add
up to it, with intervals:

  T = sum of M_j over columns + sum of D_jl over pairs of columns
  M_j    marginal part: mean of (F - G)² over levels of the column's ranks in
         (P + Q)/2; of a category, the sum of (p - q)² over its words, by 6
  D_jl   dependence part: mean of (C_P - C_Q)² over pairs of levels, with
         C(u, v) = Pr(U <= u, V <= v) - uv for the ranks U, V of either sample
         by itself; of categories, the covariance of their words
  share  (M_j + half of its D_jl) / T: the column's Shapley value

Ranks make the parts free of units and of far rows; a column that moves, however it moves, changes M_j
and no D_jl. What shows only in three columns together is not in T: the rules may see it. Values are
without bias, so that a part may come out below 0.

Rules are conjunctions of up to three conditions that hold more of Q than of P, or less. They are
found on one half of the rows and tested on the other; intervals are Clopper-Pearson's, p-values are
adjusted by Holm.

--rows writes the energy witness of every row, high where P has fewer rows than Q; --scale is for it
alone. --max and --min are limits of T, --alpha of its p-value; -f value prints T."""
NOTES = """Parts: differences of distribution functions at ranks (Anderson 1962, Ann. Math. Stat. 33) and of
copulas (Remillard & Scaillet 2009, J. Multivar. Anal. 100). A tied value is spread evenly over
the levels that it covers: the checkerboard copula of Genest, Neslehova & Remillard 2014
(Bernoulli 20). Shares are those of Shapley 1953: half of what a pair has goes to either column.

The variance of |D|² without its bias, for an estimated difference D with covariance S, is 4 D'SD
+ 2 tr S², which also holds where D is 0. S comes from 128 blocks of rows a sample, put into
random order. Intervals of parts that are 0 are too wide, by up to a third.

The permutation test exchanges blocks of rows, a subgroup of all permutations: its level is exact.
Its statistic takes both parts at levels of the pooled rows, without a correction of the bias.

Cost: O((n + m)(d log(n + m) + (d B)²)) time for B bins, O((n + m) d) memory; --rows O(n m d)
time.

Rules: cuts are quantiles of (P + Q)/2 on the first half of the rows, rounded as far as it makes
no difference. All conditions, all pairs of them and ranges, and the 20 best pairs with a third
one are tried. A rule is tested on the other half if it is clearer than the best of as many by
chance, if each condition changes the proportions of what the others hold, and if no clearer rule
holds half of the same rows.

Given the rows of both samples that a rule holds, those of Q are taken as binomial: exact for rare
rules, too wide by up to sqrt(2) for one that holds half of the mass (Clopper & Pearson 1934,
Biometrika 26). With weights, the rows are as many equal ones as would know the mass as well.
p-values are adjusted over the rules of the run (Holm 1979, Scand. J. Stat. 6)."""
_SECTIONS = pair_sections(permutations=PERMUTATIONS)
COMMANDS: dict[str, click.Command] = {
    "explain": Command(
        "explain",
        callback=run,
        params=[
            click.Argument(["reference"], metavar="P"),
            click.Argument(["candidate"], metavar="Q"),
            option(
                "--top",
                metavar="K",
                type=WholeNumber(1, 1000),
                default=TOP,
                show_default=True,
                help="Columns and pairs that are shown, and rules that are tested, at most.",
            ),
            option(
                "--bins",
                metavar="B",
                type=WholeNumber(2, 100),
                default=BINS,
                show_default=True,
                help="Levels 1/B .. (B-1)/B of ranks; dependence knows B categories of a column.",
            ),
            option(
                "--rows",
                metavar="FILE",
                help="Also write the witness of every row: .parquet, .npz or .csv.",
            ),
            option(
                "--alpha",
                metavar="A",
                type=Number(0, 1, min_open=True, max_open=True),
                help="Fail (exit 1) when p <= A; without it the 5% level says if there is a difference.",
            ),
            *(parameter for group in _SECTIONS.values() for parameter in group),
        ],
        examples=(
            "divmatch explain real.parquet gen.parquet",
            "divmatch explain real.parquet gen.parquet --top 3 --rows rows.parquet",
            "divmatch explain real.npy gen.npy --alpha 0.01 -f json",
        ),
        help=HELP,
        short_help="Which columns, pairs of columns and regions make Q differ from P.",
        sections=_SECTIONS,
        prepare=prepared,
        notes=NOTES,
        epilog="man divmatch-explain has more.",
    )
}
