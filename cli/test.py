"""`divmatch test`: whether both files could come from one distribution."""

import math
from collections.abc import Mapping
from typing import Any

import click

from divmatch.catalogue import QUANTITIES, STATISTICS
from divmatch.cli import gate
from divmatch.cli.command import Command
from divmatch.cli.estimate import finish, pair_sections, read_pair
from divmatch.cli.options import Number, option
from divmatch.cli.report import Report, interval, result_line, short, title, verdict_lines
from divmatch.cli.session import Session
from divmatch.errors import SettingError
from divmatch.estimator import Estimator, parse_metric
from divmatch.record import Result

ALPHA = 0.05
KNOWN = [*QUANTITIES, *STATISTICS]


def run(**options: Any) -> int:
    """Estimate, permute, say what was seen and what could have been."""
    session, chosen, settings = prepared(options)
    alpha = options["alpha"]
    x, y = read_pair(session, options["reference"], options["candidate"])
    with session.running():
        result = session.infer(chosen, x, y, settings)
    limits = session.limits()

    def verdict(results: list[Result]) -> dict[str, Any] | None:
        made = gate.verdict(results, limits)
        rules = [] if made is None else made["rules"]
        if alpha is not None:
            rules = [*rules, significance(results[0], alpha)]
        return session.overridden(gate.combined(rules)) if rules else None

    session.verdict = verdict  # type: ignore[method-assign, assignment]
    session.settings["alpha"] = alpha if alpha is not None else ALPHA
    return finish(session, [result], x, y, text=text_of)


def prepared(options: Mapping[str, Any]) -> tuple[Session, Estimator, dict[str, Any]]:
    """What can be said before any data are read."""
    session = Session("test", options)
    try:
        chosen, settings = parse_metric(options["statistic"], scoring=False)
    except SettingError as error:
        raise SettingError(f"--statistic: {error}") from None
    check_permutations(options["permutations"], options["alpha"])
    return session, chosen, settings


def check_permutations(permutations: int, alpha: float | None) -> None:
    """Refuse what could never reject: the smallest p-value of B permutations is 1 / (B + 1)."""
    least = math.ceil(1 / (ALPHA if alpha is None else alpha) - 1e-9) - 1
    if permutations < least:
        raise SettingError(
            f"--permutations {permutations}: p-values below 1 / {permutations + 1} cannot occur; give "
            f"at least {least} to reject at the {(ALPHA if alpha is None else alpha) * 100:g}% level"
        )


def significance(result: Result, alpha: float) -> dict[str, Any]:
    """The rule that fails when the test rejects."""
    if result.test is None:
        status, rule = "inconclusive", f"p undefined ? {alpha:g}"
    elif result.test.p_value <= alpha:
        status, rule = "fail", f"p {short(result.test.p_value)} <= {alpha:g}"
    else:
        status, rule = "pass", f"p {short(result.test.p_value)} > {alpha:g}"
    return {
        "name": f"{result.id or result.metric} test",
        "status": status,
        "result": result.id or result.metric,
        "rule": f"{result.metric} {rule}",
        "severity": "fail",
    }


def text_of(report: Report) -> str:
    """The result, and one sentence on what it means."""
    lines = []
    for result in report.results:
        lines += [result_line(result, report), conclusion(result, report)]
    return "\n".join([*lines, *verdict_lines(report), ""])


def conclusion(result: Result, report: Report) -> str:
    """Detected or not, how large, and the smallest difference that would have been seen."""
    test = result.test
    if test is None:
        return f"no decision: {result.extra['message']}"
    alpha = report.document["settings"]["alpha"]
    seen = test.p_value <= alpha
    word = "difference detected" if seen else "no difference detected"
    size = f": {title(result, report)} {short(result.value)}"
    if result.ci:
        size += f", {interval(result)}"
    power = f"{short(test.null['detectable'])} would be seen four times out of five"
    return f"{word} at the {alpha * 100:g}% level{size if seen else ''}; at this n {power}"


_SECTIONS = pair_sections(permutations=999)
COMMANDS: dict[str, click.Command] = {
    "test": Command(
        "test",
        callback=run,
        params=[
            click.Argument(["reference"], metavar="P"),
            click.Argument(["candidate"], metavar="Q"),
            option(
                "--statistic",
                metavar="NAME",
                default="energy",
                show_default=True,
                help=f"Statistic, with settings if wanted: {', '.join(KNOWN)}; mmd:kernel=laplace, knn:k=10.",
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
            "divmatch test real.npy gen.npy",
            "divmatch test real.npy gen.npy --statistic mmd:kernel=laplace --alpha 0.01",
            "divmatch test real.npy gen.npy --statistic knn --permutations 199 -f json",
        ),
        help="Two-sample test: could both files come from one distribution?\n\nA permutation test: "
        "the p-value is exact in level for any number of rows, ties and weights, "
        "(1 + #{T_b >= T}) / (B + 1). The effect comes with its interval, and with the smallest "
        "value that would have been seen in four cases out of five at this n.",
        short_help="Two-sample test: could both files come from one distribution?",
        sections=_SECTIONS,
        prepare=prepared,
        epilog="man divmatch-test has more.",
    )
}
