"""`divmatch compare`: whether A is nearer to the reference than B."""

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
from divmatch.cli.report import Report, drawn, short, verdict_lines
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
from divmatch.errors import InconclusiveError
from divmatch.record import Note, Result
from divmatch.samples import Samples

ROLES = ("ref", "sample", "sample")
HELP = """Is A nearer to REF than B? D(REF, A) - D(REF, B): negative means A is nearer.

The rows of REF are counted once: what their luck does to both divergences cancels. With --paired,
row i of A and row i of B belong together (the same prompt, the same seed) and cancel too. Where
nothing can be told, the verdict names the number of rows that would tell a gap of this size from 0
in four cases out of five.

Where larger is nearer (prdc) it is the other way round: positive means A is nearer.

The p-value is the normal one of the interval. With --permutations, rows of A and B are exchanged
too, which is exact if both come from one distribution, and the larger of both p-values is
reported: it is right also where A and B differ and are equally far. --max and --min are limits of
the difference."""


def run(**options: Any) -> int:
    """Read three files, compare, say what it means."""
    from divmatch.comparison import standings

    session, estimator, settings = prepared(options)
    paths = [options[name] for name in ("ref", "a", "b")]
    samples = read_all(session, paths, ROLES)
    level = options["level"]
    with session.running():
        try:
            found = standings(
                estimator,
                samples[0],
                samples[1:],
                settings,
                level=level,
                seed=session.seed,
                paired=options["paired"],
            )
            results = [*(one.result for one in found), compared(session, estimator, samples, found)]
        except InconclusiveError as error:
            nothing = session.undecided_result(estimator, samples[0], samples[1], settings, error)
            results = [replace(nothing, id=f"{options['metric']}:difference")]
    return report(session, samples, results)


def prepared(options: Mapping[str, Any]) -> tuple[Session, Any, dict[str, Any]]:
    """What can be said before any data are read."""
    session = Session("compare", options)
    estimator, settings = chosen_metric(options)
    refuse_two_streams([options[name] for name in ("ref", "a", "b")])
    return session, estimator, settings


def compared(session: Session, estimator: Any, samples: Sequence[Samples], found: Any) -> Result:
    """The difference as a result."""
    from divmatch.comparison import difference
    from divmatch.exchange import exchange_test, larger

    options, (one, other) = session.options, found
    made = difference(one, other, level=options["level"], paired=options["paired"])
    exchanged = None
    if options["permutations"]:
        exchanged = exchange_test(
            estimator,
            samples[0],
            samples[1],
            samples[2],
            one.settings,
            permutations=options["permutations"],
            seed=session.seed,
            paired=options["paired"],
        )
    n = tuple(sample.n for sample in samples)
    notes = tuple(doubts(one.result, other.result, tested=exchanged is not None))
    if made.se is None:
        notes = (*notes, Note("W10", "the difference has no standard error; give --permutations"))
    return replace(
        one.result,
        id=f"{options['metric']}:difference",
        sample=f"{samples[1].name} - {samples[2].name}",
        value=made.value,
        se=made.se,
        ci=made.interval,
        bias={"estimate": made.bias, "corrected": "interval"} if made.bias else None,
        error=None,
        test=larger(made.p_value, exchanged),
        n=n,
        params={**one.settings, "paired": options["paired"]},
        warnings=notes,
        status="warn" if notes else "ok",
        extra={
            "rows_to_settle": rows_to_settle(made.growth(), n),
            "p_normal": made.p_value,
            "p_permutation": exchanged and exchanged.p_value,
        },
    )


def doubts(one: Result, other: Result, *, tested: bool) -> list[Note]:
    """Near zero on both sides, neither interval nor normal p-value is more than cautious."""
    if not all(any(note.code == "W04" for note in r.warnings) for r in (one, other)):
        return []
    advice = "" if tested else "; --permutations adds an exact test"
    return [
        Note(
            "W04",
            f"neither {one.sample} nor {other.sample} can be told from the reference: the interval "
            f"of the difference is wider than it need be{advice}",
        )
    ]


def report(session: Session, samples: Sequence[Samples], results: list[Result]) -> int:
    """Units, warnings, outputs, exit code; limits are of the difference."""
    session.warn(notes_of(*samples))
    for result in results:
        session.warn(result.warnings, f"{result.sample}: " if len(results) > 1 else "")
    metric = session.options["metric"]
    named = [replace(result, id=result.id or metric) for result in results]
    results = presented(session, samples, named)
    session.settings["nearer"] = nearer(results[-1])
    made = gate.verdict(results[-1:], session.limits())
    return session.report(
        session.inputs(samples, ROLES),
        results,
        made and session.overridden(made),
        text=text_of,
    )


def nearer(result: Result) -> str | None:
    """A or B, where the p-value is small enough for the level of the interval."""
    if result.test is None or result.ci is None or result.test.p_value > 1 - result.ci.level:
        return None
    return "A" if (result.value < 0) == (result.better == "lower") else "B"


def text_of(report: Report) -> str:
    """Two lines: the numbers and what they mean."""
    last = report.results[-1]
    if len(report.results) < 3:
        return f"no decision: {last.extra['message']}\n"
    reference, *names = (printable(one["name"]) for one in report.document["inputs"])
    metric, arrow = report.document["settings"]["metric"], ""
    if last.direction == "ref->sample":
        arrow = f"{reference} || "
    parts = [
        f"{metric}({arrow}{name}) {short(one.value)}"
        for name, one in zip(names, report.results, strict=False)
    ]
    parts.append(f"difference {signed(last.value)}")
    if last.ci:
        parts.append(f"{last.ci.level * 100:g}% CI {signed(last.ci.low)} .. {signed(last.ci.high)}")
    if last.test:
        parts.append(f"p = {short(last.test.p_value)} ({drawn(last.test)})")
    lines = ["   ".join(parts), f"verdict: {verdict(report, reference, *names)}"]
    return "\n".join([*lines, *verdict_lines(report), ""])


def verdict(report: Report, reference: str, a: str, b: str) -> str:
    """The plain sentence, and what would settle the question."""
    last, won = report.results[-1], report.document["settings"]["nearer"]
    same = len(set(last.n)) == 1
    n = str(last.n[0]) if same else ", ".join(map(str, last.n))
    if won:
        near, far = (a, b) if won == "A" else (b, a)
        return f"{near} is nearer to {reference} than {far} at n = {n}"
    told = f"no detectable difference at n = {n}"
    if last.ci is None or last.value == 0:
        return told
    from divmatch.comparison import growth

    needed = growth(last)
    if needed is not None and needed <= 1:
        return f"{told}: the interval is clear of 0, the permutations are not"
    return f"{told}; {settled_by(needed, last.n)} would settle a gap of this size"


def signed(value: float) -> str:
    """Four digits with a sign."""
    text = short(value)
    return f"+{text}" if value > 0 else text


_SECTIONS = sections()
COMMANDS: dict[str, click.Command] = {
    "compare": Command(
        "compare",
        callback=run,
        params=[
            click.Argument(["ref"], metavar="REF"),
            click.Argument(["a"], metavar="A"),
            click.Argument(["b"], metavar="B"),
            metric_option(),
            option("--paired", is_flag=True, help="Row i of A and row i of B belong together."),
            *(parameter for group in _SECTIONS.values() for parameter in group),
        ],
        examples=(
            "divmatch compare real.npy gen.npy other.npy",
            "divmatch compare real.npy gen.npy other.npy --metric mmd:kernel=laplace -B 199",
            "divmatch compare real.npy gen.npy other.npy --max 0 -f json",
        ),
        help=HELP,
        short_help="Is A nearer to REF than B? The difference, its interval, a verdict.",
        sections=_SECTIONS,
        prepare=prepared,
        epilog="man divmatch-compare has more.",
    )
}
