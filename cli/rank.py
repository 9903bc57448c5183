"""`divmatch rank`: a league table with groups that cannot be told apart."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import click

from divmatch.cli import gate
from divmatch.cli.command import Command
from divmatch.cli.main import printable
from divmatch.cli.options import (
    option,
)
from divmatch.cli.render import delimited, delimited_header, flat, value_of
from divmatch.cli.report import Report, columns, short, verdict_lines
from divmatch.cli.session import Session, notes_of
from divmatch.cli.several import (
    chosen_metric,
    metric_option,
    presented,
    read_all,
    refuse_two_streams,
    rows_to_settle,
    sections,
    settled_by,
)
from divmatch.errors import InconclusiveError, SettingError
from divmatch.record import Result
from divmatch.samples import Samples

SETTLED = "told apart"
HELP = """League table of sample sets, nearest to REF first, with groups that cannot be told apart.

All pairs of sample sets are compared as in `divmatch compare`: the rows of REF are counted once.
Two sets share a letter if and only if their distances from REF cannot be told apart, at 1 - LEVEL
for all pairs taken together (Holm). The last column names the rows of each that would tell a set
from the next one: in four cases out of five, were it the only pair.

P-values are normal, or with --permutations the larger of that and of exchanges of rows. --max and
--min are limits of each divergence. JSON and NDJSON also hold the differences of all pairs."""


def run(**options: Any) -> int:
    """Read all files, estimate each once, compare all pairs."""
    from divmatch.comparison import standings

    session, estimator, settings = prepared(options)
    if not options["samples"]:
        raise SettingError("no sample sets; name files after REF")
    paths = [options["ref"], *options["samples"]]
    samples = read_all(session, paths, roles(paths))
    with session.running():
        try:
            found = standings(
                estimator,
                samples[0],
                samples[1:],
                settings,
                level=options["level"],
                seed=session.seed,
                paired=options["paired"],
            )
            results = ranked(session, estimator, samples, found)
        except InconclusiveError as error:
            nothing = session.undecided_result(estimator, samples[0], samples[1], settings, error)
            results = [replace(nothing, id=options["metric"])]
    return report(session, samples, results)


def prepared(options: Mapping[str, Any]) -> tuple[Session, Any, dict[str, Any]]:
    """What can be said before any data are read."""
    session = Session("rank", options)
    estimator, settings = chosen_metric(options)
    refuse_two_streams([options["ref"], *options["samples"]])
    return session, estimator, settings


def roles(paths: Sequence[Any]) -> list[str]:
    """The reference, then sample sets."""
    return ["ref", *["sample"] * (len(paths) - 1)]


def ranked(
    session: Session, estimator: Any, samples: Sequence[Samples], found: Sequence[Any]
) -> list[Result]:
    """A result for each set, nearest first, then one for each pair."""
    from divmatch.exchange import exchange_test
    from divmatch.league import league
    from divmatch.record import Test

    options, candidates = session.options, samples[1:]

    def exchanged(i: int, j: int) -> Test:
        return exchange_test(
            estimator,
            samples[0],
            candidates[i],
            candidates[j],
            found[i].settings,
            permutations=options["permutations"],
            seed=session.seed,
            paired=options["paired"],
        )

    made = league(
        found,
        level=options["level"],
        paired=options["paired"],
        exchanged=exchanged if options["permutations"] else None,
    )
    gaps = {pair.one: pair for pair in made.neighbours()}
    results = []
    for place, (k, letters) in enumerate(zip(made.order, made.letters, strict=True)):
        extra: dict[str, Any] = {"rank": place + 1, "group": letters}
        results.append(replace(found[k].result, id=options["metric"], extra=extra))
    for pair in made.pairs:
        one, gap = found[pair.one].result, pair.difference
        n = (samples[0].n, candidates[pair.one].n, candidates[pair.other].n)
        results.append(
            replace(
                one,
                id=f"{options['metric']}:difference",
                sample=f"{candidates[pair.one].name} - {candidates[pair.other].name}",
                value=gap.value,
                se=gap.se,
                ci=gap.interval,
                error=None,
                bias={"estimate": gap.bias, "corrected": "interval"} if gap.bias else None,
                test=pair.test,
                n=n,
                status="ok",
                warnings=(),
                extra={
                    "rows_to_settle": rows_to_settle(gap.growth(), n),
                    "told_apart": pair.apart,
                    "neighbours": gaps.get(pair.one) is pair,
                },
            )
        )
    return results


def report(session: Session, samples: Sequence[Samples], results: list[Result]) -> int:
    """Units, warnings, outputs, exit code."""
    session.warn(notes_of(*samples))
    for result in results:
        session.warn(result.warnings, f"{result.sample}: " if result.sample else "")
    results = presented(session, samples, results)
    made = gate.verdict(league_of(results), session.limits())
    inputs = session.inputs(samples, roles(samples))
    return session.report(
        inputs, results, made and session.overridden(made), text=text_of, forms=FORMS
    )


def league_of(results: Sequence[Result]) -> list[Result]:
    """The sets themselves, without their pairs."""
    return [one for one in results if not one.id.endswith(":difference")]


def text_of(report: Report) -> str:
    """The table, and what its letters mean."""
    if "group" not in report.results[0].extra:
        return f"no decision: {report.results[0].extra['message']}\n"
    return "\n".join([*columns(table(report)), foot(report), *verdict_lines(report), ""])


def table(report: Report) -> list[list[str]]:
    """A row a set: place, name, rows, value with interval, letters, rows that would settle the gap."""
    first, metric = report.results[0], report.document["settings"]["metric"]
    arrow = "(ref||sample)" if first.direction == "ref->sample" else ""
    rows = [["sample", "n", f"{metric}{arrow}", "group", "rows to tell it from the next"]]
    gaps = iter([one for one in report.results if one.extra.get("neighbours")])
    for one in league_of(report.results):
        cell = short(one.value)
        if one.ci:
            cell += f" [{short(one.ci.low)}, {short(one.ci.high)}]"
        name = printable(str(one.sample))
        rows.append([name, str(one.n[1]), cell, one.extra["group"], _needed(next(gaps, None))])
    return rows


def _needed(gap: Result | None) -> str:
    """What would settle the gap to the next set."""
    from divmatch.comparison import growth

    if gap is None:
        return "-"
    return SETTLED if gap.extra["told_apart"] else settled_by(growth(gap), gap.n)


def foot(report: Report) -> str:
    """What the letters mean."""
    settings = report.document["settings"]
    level = settings["level"]
    way = "larger" if report.results[0].better == "higher" else "smaller"
    return (
        f"reference {report.name('ref')}; value [{level * 100:g}% interval]; "
        f"{way} is nearer; "
        f"sets that share a letter cannot be told apart at {(1 - level) * 100:g}% (Holm)"
    )


def separated(report: Report, delimiter: str) -> str:
    """The sets as rows; their pairs are in JSON."""
    found = report.document["results"][: len(league_of(report.results))]
    rows = [delimited(flat(one), delimiter) for one in found]
    return delimited_header(delimiter) + "".join(rows)


def markdown_of(report: Report) -> str:
    """The table for a pull request."""
    if "group" not in report.results[0].extra:
        return text_of(report)
    head, *body = [[cell.replace("|", "\\|") for cell in row] for row in table(report)]
    lines = [f"| {' | '.join(row)} |" for row in (head, *body)]
    lines.insert(1, "|---|--:|--:|---|--:|")
    return "\n".join([*lines, "", foot(report), *(f"**{v}**" for v in verdict_lines(report)), ""])


def bare(report: Report) -> str:
    """The values of the sets, nearest first; their pairs are in JSON."""
    sets = league_of(report.results) or report.results
    return value_of(replace(report, results=tuple(sets)))


FORMS = {
    "value": bare,
    "csv": lambda report: separated(report, ","),
    "tsv": lambda report: separated(report, "\t"),
    "markdown": markdown_of,
}
_SECTIONS = sections()
COMMANDS: dict[str, click.Command] = {
    "rank": Command(
        "rank",
        callback=run,
        params=[
            click.Argument(["ref"], metavar="REF"),
            click.Argument(["samples"], metavar="S...", nargs=-1),
            metric_option(),
            option("--paired", is_flag=True, help="Rows of equal number belong together in all S."),
            *(parameter for group in _SECTIONS.values() for parameter in group),
        ],
        examples=(
            "divmatch rank real.npy gen.npy other.npy",
            "divmatch rank real.npy gen/step-100.npy gen/step-200.npy gen/step-300.npy -f markdown",
            "divmatch rank real.npy gen.npy other.npy --metric mmd:kernel=laplace -f csv",
        ),
        help=HELP,
        short_help="League table of sample sets, with groups that cannot be told apart.",
        sections=_SECTIONS,
        prepare=prepared,
        epilog="man divmatch-rank has more.",
    )
}
