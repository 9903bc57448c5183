"""`divmatch memorisation`: whether generated rows are nearer to the training rows than to new ones."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import click

from divmatch.catalogue import QUANTITIES
from divmatch.cli.command import Command
from divmatch.cli.estimate import pair_sections
from divmatch.cli.main import printable
from divmatch.cli.options import Number, option
from divmatch.cli.report import Report, columns, short, verdict_lines
from divmatch.cli.session import Session, labelled, notes_of, with_notes
from divmatch.cli.test import check_permutations, decided
from divmatch.errors import InconclusiveError, SettingError
from divmatch.estimator import Estimator, parse_metric
from divmatch.generalisation import ALPHA, STATISTIC, Memorisation, compared
from divmatch.record import Result
from divmatch.samples import Samples

PERMUTATIONS = 199
ROLES = ("p", "q", "train")
SHOWN = ("D(gen, train)", "D(gen, test)", "D(train, test)", "gap", "ratio")
HELP = """Has a generator memorised its training rows? Train, test and generated compared.

TEST holds real rows that the generator has not seen, GEN its rows, TRAIN the rows it was trained
on. Three divergences, D(gen, train), D(gen, test) and D(train, test); the gap D(gen, test) -
D(gen, train), whose p-value is exact: it exchanges the labels train and test; and the memorisation
ratio D(gen, test) / D(gen, train), with an interval by the delta method. A gap clearly above 0 is
memorisation (W30). --alpha fails on it; --max and --min are limits of the ratio.

The default, the energy distance of the rows at hand, sees memorised rows among few; it is biased
upward for all pairs alike, so that the ratio is 1 where nothing is memorised and TEST has as many
rows as TRAIN. Any other quantity can be named, such as c2st:method=network,mode=wgan: a critic,
judged on held-out rows. All rows are put on the scale of TEST."""


def run(**options: Any) -> int:
    """Read three files, compare them, say what it means."""
    from divmatch.encoding import encode
    from divmatch.files import check_readable, read_table

    session, estimator, settings = prepared(options)
    paths = [options["reference"], options["candidate"], options["train"]]
    check_readable(paths)
    session.spare(paths)
    reading = session.reading()
    tables = [read_table(path, reading, role=role) for path, role in zip(paths, ROLES, strict=True)]
    samples = encode(*tables, reading=reading)
    with session.running():
        try:
            found = compared(
                estimator,
                settings,
                *samples,
                alpha=options["alpha"] or ALPHA,
                level=options["level"],
                permutations=options["permutations"],
                seed=session.seed,
            )
        except InconclusiveError as error:
            return undecided(session, estimator, settings, samples, error)
    return report(session, found, samples)


def prepared(options: Mapping[str, Any]) -> tuple[Session, Estimator, dict[str, Any]]:
    """What can be said before any data are read."""
    session = Session("memorisation", options)
    try:
        estimator, settings = parse_metric(options["statistic"], scoring=False)
    except SettingError as error:
        raise SettingError(f"--statistic: {error}") from None
    if options["permutations"] or options["alpha"]:
        check_permutations(options["permutations"], options["alpha"])
    return session, estimator, settings


def report(session: Session, found: Memorisation, samples: tuple[Samples, ...]) -> int:
    """Warnings, outputs, exit code; limits are of the ratio."""
    read = notes_of(*samples)
    results = [
        replace(one, unit=labelled(one.unit, session.reading(), samples[0]))
        for one in found.results
    ]
    results[0] = with_notes(results[0], read)
    session.warn(read)
    for one in results:
        fresh = one.warnings[len(read) :] if one is results[0] else one.warnings
        session.warn(fresh, f"D({one.sample}): " if one.sample else "")
    session.settings |= {
        "statistic": session.options["statistic"],
        "level": session.options["level"],
        "scale": samples[0].origin.get("scale", "none"),
        "memorised": found.memorised,
    }
    gap, ratio = results[-2:]
    verdict = decided(session, ratio, gap)
    return session.report(session.inputs(samples, ROLES), results, verdict, text=text_of)


def undecided(
    session: Session,
    estimator: Estimator,
    settings: Mapping[str, Any],
    samples: tuple[Samples, ...],
    error: InconclusiveError,
) -> int:
    """The data allow no number: exit 3."""
    result = session.undecided_result(estimator, samples[0], samples[1], settings, error)
    session.warn(result.warnings)
    return session.report(session.inputs(samples, ROLES), [result], session.verdict([result]))


def text_of(report: Report) -> str:
    """A table of the five numbers and one sentence."""
    from divmatch.estimator import quantity

    first, gap = report.results[0], report.results[3]
    level = f"{first.ci.level * 100:g}% CI" if first.ci else "interval"
    name = quantity(first.metric).titled(first.params)
    rows = [[f"{name}, method {first.method}", "value", level]]
    for label, one in zip(SHOWN, report.results, strict=True):
        bounds = f"{short(one.ci.low)} .. {short(one.ci.high)}" if one.ci else ""
        rows.append([label, short(one.value), bounds])
    return "\n".join([*columns(rows), sentence(report, gap), *verdict_lines(report), ""])


def sentence(report: Report, gap: Result) -> str:
    """The verdict in words."""
    test, gen, train = (printable(i["name"]) for i in report.document["inputs"])
    if gap.test is not None:
        by = f" (p = {short(gap.test.p_value)}, {gap.test.permutations} permutations)"
    else:
        by = "" if gap.ci is not None else " (no interval and no permutations: undecided)"
    if report.document["settings"]["memorised"]:
        return f"memorised: {gen} is nearer to {train} than to {test}{by}"
    return f"no memorisation seen: {gen} is not clearly nearer to {train} than to {test}{by}"


_SECTIONS = pair_sections(permutations=PERMUTATIONS)
COMMANDS: dict[str, click.Command] = {
    "memorisation": Command(
        "memorisation",
        callback=run,
        params=[
            click.Argument(["reference"], metavar="TEST"),
            click.Argument(["candidate"], metavar="GEN"),
            option(
                "--train",
                metavar="TRAIN",
                required=True,
                help="The rows that the generator was trained on; weighted by --weights alone.",
            ),
            option(
                "--statistic",
                metavar="NAME",
                default=STATISTIC,
                show_default=True,
                help=f"Divergence D, with settings if wanted: {', '.join(QUANTITIES)}.",
            ),
            option(
                "--alpha",
                metavar="A",
                type=Number(0, 1, min_open=True, max_open=True),
                help="Fail (exit 1) when p <= A; without it the 5% level is only reported.",
            ),
            *(parameter for group in _SECTIONS.values() for parameter in group),
        ],
        examples=(
            "divmatch memorisation test.npy gen.npy --train train.npy",
            "divmatch memorisation test.npy gen.npy --train train.npy --alpha 0.01 -f json",
            "divmatch memorisation test.npy gen.npy --train train.npy -B 19 "
            "--statistic c2st:method=network,mode=wgan",
        ),
        help=HELP,
        short_help="Has a generator memorised its training rows? Train, test and generated compared.",
        sections=_SECTIONS,
        prepare=prepared,
        epilog="man divmatch-memorisation has more.",
    )
}
