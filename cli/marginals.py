"""`divmatch marginals`: two tables compared column by column."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import click
import numpy as np

from divmatch.cli import gate
from divmatch.cli.command import Command
from divmatch.cli.main import printable
from divmatch.cli.marginal_columns import Input, Marginal, matched, measured, parts_of
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
from divmatch.cli.report import Report, columns, short, verdict_lines
from divmatch.cli.session import Session
from divmatch.errors import SettingError, counted, suggestion
from divmatch.estimators.marginals import BINS, STATISTICS, SYMMETRIC, UNITS, adjusted
from divmatch.record import Note, Result, Test

DEFAULT = "w1,ks,js,psi,chi2,missing"


def run(**options: Any) -> int:
    """One pass over the columns; results in the order of the file."""
    from divmatch.files import check_readable

    session, wanted = prepared(options)
    paths = [options["reference"], options["candidate"]]
    check_readable(paths)
    session.spare(paths)
    with session.running():
        inputs = [Input(path, session, role) for path, role in zip(paths, "pq", strict=True)]
        names = matched(*(one.parts for one in inputs))
        parts = list(parts_of(names, [one.parts for one in inputs]))
        found: list[Marginal] = []
        with Progress(options["progress"], len(parts), "marginals") as progress:
            for part in parts:
                progress.at(f"column {part[0][0]}")
                found += measured(inputs, part, wanted, options["bins"])
                progress.done()
    results = results_of(found, wanted, options)
    for result in results:
        session.warn(result.warnings)
    session.settings |= {
        "statistics": list(wanted),
        "bins": options["bins"],
        "adjust": options["adjust"],
        "alpha": options["alpha"],
    }
    return session.report(
        [one.described() for one in inputs], results, verdict(session, results), text=text_of
    )


def prepared(options: Mapping[str, Any]) -> tuple[Session, tuple[str, ...]]:
    """What can be said before any data are read."""
    session = Session("marginals", {**options, "decide": "point"})  # there are no intervals
    wanted = tuple(part.strip() for part in options["statistics"].split(",") if part.strip())
    for name in wanted:
        if name not in STATISTICS:
            known = ", ".join(STATISTICS)
            raise SettingError(
                f"--statistics {name}: expected one of {known}{suggestion(name, STATISTICS)}"
            )
    if not wanted or len(set(wanted)) < len(wanted):
        raise SettingError(
            "--statistics: expected at least one statistic, each once, such as w1,ks"
        )
    for flag, limit in (("--max", options["maximum"]), ("--min", options["minimum"])):
        if limit is not None and len(wanted) > 1:
            raise SettingError(
                f"{flag}: holds for one statistic; name it with --statistics, such as psi"
            )
    return session, wanted


# ------------------------------------------------------------------------------------ results


def results_of(
    found: Sequence[Marginal], wanted: tuple[str, ...], options: Mapping[str, Any]
) -> list[Result]:
    """One result a column and statistic; p-values are adjusted over all tests of the run."""
    results = [
        result_of(column, name, wanted, options["bins"])
        for column in found
        for name in column.found
    ]
    if not results:
        raise SettingError(
            f"--statistics {','.join(wanted)}: no column has one of them; chi2 is of categories, w1, "
            "ks and cvm of numbers"
        )
    tests = [k for k, result in enumerate(results) if result.test]
    p = np.array([r.test.p_value for r in results if r.test])
    for k, value in zip(tests, adjusted(p, options["adjust"]), strict=True):
        test = results[k].test
        if test is not None:
            results[k] = replace(results[k], test=replace(test, adjusted=float(value)))
    return results


def result_of(column: Marginal, name: str, wanted: tuple[str, ...], bins: int) -> Result:
    """One statistic of one column as a record."""
    made = column.found[name]
    params: dict[str, Any] = {
        "column": column.label,
        "kind": column.kind,
        "missing": list(column.missing),
    }
    if name in ("js", "psi") and column.kind == "number":
        params["bins"] = bins
    notes = []
    if made.note:
        notes.append(Note(made.note[0], f"column '{column.label}' {made.note[1]}"))
    if made.reason:
        notes.append(Note("E01", f"column '{column.label}': {made.reason}"))
    if any(column.missing) and "missing" not in wanted:
        gone = f"{column.missing[0]} and {column.missing[1]}"
        text = f"column '{column.label}' lacks {gone} values in P and Q: {name} is of the others"
        notes.append(Note("W35", text))
    return Result(
        metric=name,
        method=made.method,
        value=made.value,
        unit=UNITS.get(name, "1"),
        direction="symmetric" if name in SYMMETRIC else "P||Q",
        n=column.rows if name == "missing" else column.present,
        d=1,
        test=None if made.p is None else Test(made.p, made.method, 0, {}),
        params=params,
        status="inconclusive" if made.reason else "warn" if notes else "ok",
        id=f"{name}:column={column.label}",
        warnings=tuple(notes),
        extra={"columns": [column.label]} | ({"message": made.reason} if made.reason else {}),
    )


def verdict(session: Session, results: Sequence[Result]) -> dict[str, Any] | None:
    """Limits on the values of one statistic, and --alpha on the adjusted p-values."""
    made = gate.verdict(results, session.limits())
    rules = [] if made is None else made["rules"]
    alpha = session.options["alpha"]
    if alpha is not None:
        rules = [*rules, *(significance(r, alpha) for r in results if r.test)]
    return session.overridden(gate.combined(rules)) if rules else None


def significance(result: Result, alpha: float) -> dict[str, Any]:
    """The rule that fails when a test rejects after adjustment."""
    p = result.test.adjusted if result.test and result.test.adjusted is not None else 1.0
    rejected = p <= alpha
    return {
        "name": f"{result.id} test",
        "status": "fail" if rejected else "pass",
        "result": result.id,
        "rule": f"{result.id} p(adjusted) {short(p)} {'<=' if rejected else '>'} {alpha:g}",
        "severity": "fail",
    }


# --------------------------------------------------------------------------------------- text


def text_of(report: Report) -> str:
    """A table, the columns that changed most first: smallest adjusted p-value, then largest values."""
    settings = report.document["settings"]
    by_column: dict[str, dict[str, Result]] = {}
    for result in report.results:
        by_column.setdefault(result.params["column"], {})[result.metric] = result
    ordered = sorted(by_column.items(), key=lambda item: _rank(item[1]))
    wanted = settings["statistics"]
    tested = any(result.test for result in report.results)
    head = ["column", "kind", "missing P, Q", *wanted, *(["p"] if tested else [])]
    body = [_row(name, found, wanted, tested) for name, found in ordered]
    lines = [*columns([head, *body]), _foot(report, len(ordered))]
    verdict = report.document.get("verdict")
    if verdict:
        rules = [rule for rule in verdict["rules"] if rule["status"] != "pass"]
        shown = Report(
            {**report.document, "verdict": {**verdict, "rules": rules}}, (), text_of, report.colour
        )
        passed = len(verdict["rules"]) - len(rules)
        lines += [
            *verdict_lines(shown),
            f"{passed} of {counted(len(verdict['rules']), 'rule')} passed",
        ]
    return "\n".join([*lines, ""])


def _rank(found: Mapping[str, Result]) -> tuple[float, float, float]:
    p = _least(found)
    values = [found[name].value for name in ("psi", "js", "w1", "ks") if name in found]
    size = values[0] if values and values[0] == values[0] else 0.0
    undefined = any(result.status == "inconclusive" for result in found.values())
    return (0.0 if undefined else 1.0, 2.0 if p is None else p, -size)


def _least(found: Mapping[str, Result]) -> float | None:
    """The smallest adjusted p-value of a column."""
    p = [r.test.adjusted for r in found.values() if r.test and r.test.adjusted is not None]
    return min(p) if p else None


def _row(name: str, found: Mapping[str, Result], wanted: Sequence[str], tested: bool) -> list[str]:
    first = next(iter(found.values()))
    p = _least(found)
    cells = [printable(name), first.params["kind"]]
    cells.append(", ".join(map(str, first.params["missing"])))
    for statistic in wanted:
        result = found.get(statistic)
        cells.append(
            "-" if result is None or result.status == "inconclusive" else short(result.value)
        )
    return [*cells, *(["-" if p is None else short(p)] if tested else [])]


def _foot(report: Report, count: int) -> str:
    """What is what: roles, units, bins, the family of tests."""
    settings = report.document["settings"]
    tests = sum(result.test is not None for result in report.results)
    how = {"holm": "Holm", "bh": "Benjamini-Hochberg", "none": "no adjustment"}[settings["adjust"]]
    parts = [f"P={report.name('p')}, Q={report.name('q')}; {counted(count, 'column')}"]
    if "w1" in settings["statistics"]:
        parts.append("w1 in IQRs of P")
    if {"js", "psi"} & set(settings["statistics"]):
        parts.append(f"{settings['bins']} quantile bins of P, 1/2 added to each count")
    if tests:
        parts.append(f"p: smallest of the column ({how}, {counted(tests, 'test')})")
    return "; ".join(parts)


# ------------------------------------------------------------------------------------ command

HELP = """Compare two tables column by column: W1, KS, JS, PSI, chi2, missing values.

Every column of P (the reference) with the column of the same name in Q; columns of plain arrays by
position, list columns number by number. Text is a category as it is, not one column a word.

  w1       area between the distribution functions, in interquartile ranges
           of P (standard deviations where that is zero)
  ks       largest distance between the distribution functions; p exact up
           to 10,000 rows
  cvm      Cramer-von Mises T of two samples, with midranks
  js, psi  Jensen-Shannon divergence (nats) and population stability index
           of 10 bins at the quantiles of P, or of the categories; 1/2 is
           added to every count, so that empty ones give a number. A value
           that several quantiles fall on has a bin of its own
  chi2     Pearson's chi-square of the categories, no continuity correction
  missing  share of missing values in Q less that in P; p by chi-square,
           Fisher's where counts are below 5

w1, ks and cvm are of numbers, chi2 of categories. Missing values are left out of all statistics but
the last, and a warning (W35) says so if that is not asked for. p-values are adjusted over all tests
of the run; a column in which nothing is missing is no test. Single columns cannot show a change of
their dependence: for that, divmatch energy or divmatch test.

Parquet and .npy files are read some columns at a time, so that memory does not grow with their
number."""


def _options() -> dict[str, list[click.Parameter]]:
    keep = ("columns", "sample", "stdin_format")
    return {
        "Reading": [
            *(p for p in input_options(pair=False) if p.name in keep),
            *(p for p in inference_options() if p.name == "seed"),
        ],
        "Limits": [
            option(
                "--alpha",
                metavar="A",
                type=Number(0, 1, min_open=True, max_open=True),
                help="Fail (exit 1) when an adjusted p-value is <= A.",
            ),
            *(p for p in gate_options() if p.name != "decide"),
        ],
        "Output": [*output_options(), progress_option()],
        "Machine": compute_options(),
    }


_SECTIONS = _options()
COMMANDS: dict[str, click.Command] = {
    "marginals": Command(
        "marginals",
        callback=run,
        params=[
            click.Argument(["reference"], metavar="P"),
            click.Argument(["candidate"], metavar="Q"),
            option(
                "--statistics",
                metavar="LIST",
                default=DEFAULT,
                show_default=True,
                help=f"Statistics: {', '.join(STATISTICS)}.",
            ),
            option(
                "--adjust",
                type=choice("holm", "bh", "none"),
                default="holm",
                show_default=True,
                help="Adjust the p-values of all tests: Holm, Benjamini-Hochberg, or not.",
            ),
            option(
                "--bins",
                metavar="N",
                type=WholeNumber(2, 10_000),
                default=BINS,
                show_default=True,
                help="Quantile bins of the reference for js and psi.",
            ),
            *(parameter for group in _SECTIONS.values() for parameter in group),
        ],
        examples=(
            "divmatch marginals real.parquet gen.parquet",
            "divmatch marginals real.parquet gen.parquet --statistics psi --max 0.2",
            "divmatch marginals real.npy gen.npy --adjust bh --alpha 0.01 -f csv",
        ),
        help=HELP,
        short_help="Compare two tables column by column: W1, KS, JS, PSI, chi2, missing values.",
        sections=_SECTIONS,
        prepare=prepared,
        epilog="man divmatch-marginals has more.",
    )
}
