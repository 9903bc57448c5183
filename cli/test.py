"""`divmatch test`: whether both files could come from one distribution."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from divmatch.catalogue import QUANTITIES, STATISTICS
from divmatch.cli import gate
from divmatch.cli.command import Command
from divmatch.cli.design import design_options, given_of, read_designed
from divmatch.cli.estimate import finish, pair_sections, read_pair
from divmatch.cli.options import Finite, Number, option
from divmatch.cli.report import Report, interval, result_line, short, title, verdict_lines
from divmatch.cli.session import Session
from divmatch.errors import SettingError
from divmatch.estimator import Estimator, parse_metric
from divmatch.record import Result, Test

if TYPE_CHECKING:
    from divmatch.designs import Design

ALPHA = 0.05
PERMUTATIONS = 999
LEVEL = 0.95
FINEST = 0.001  # a quarter of a million permutations
KNOWN = [*QUANTITIES, *STATISTICS]


def run(**options: Any) -> int:
    """Estimate, permute, say what was seen and what could have been."""
    session, chosen, settings = prepared(options)
    options, given = dict(session.options), given_of(options)
    x, y, design = read(session, options["reference"], options["candidate"], given)
    with session.running():
        asked = {"precision": options["precision"], "alpha": options["alpha"] or ALPHA}
        result = session.infer(chosen, x, y, settings, design=design, **asked)

    def verdict(results: list[Result]) -> dict[str, Any] | None:
        rules = rules_of(results, session.limits(), options)
        return session.overridden(gate.combined(rules)) if rules else None

    session.verdict = verdict  # type: ignore[method-assign, assignment]
    session.settings["alpha"] = options["alpha"] or ALPHA
    for name in ("precision", "equivalence", "paired", "blocks", "cluster"):
        if options[name] is not None:
            session.settings[name] = options[name]
    return finish(session, [result], x, y, text=text_of)


def read(session: Session, p: str, q: str, given: list[Any]) -> tuple[Any, Any, "Design | None"]:
    """Both samples and, with --paired, --blocks or --cluster, how their rows belong together."""
    if given:
        return read_designed(session, p, q, given)
    return (*read_pair(session, p, q), None)


def prepared(options: Mapping[str, Any]) -> tuple[Session, Estimator, dict[str, Any]]:
    """What can be said before any data are read."""
    session = Session("test", {**options, **resolved(options)})
    try:
        chosen, settings = parse_metric(options["statistic"], scoring=False)
    except SettingError as error:
        raise SettingError(f"--statistic: {error}") from None
    check_permutations(session.options["permutations"], options["alpha"])
    check_precision(options["precision"], options["alpha"])
    given_of(options)
    return session, chosen, settings


def resolved(options: Mapping[str, Any]) -> dict[str, Any]:
    """The permutations and the level of the interval, which other options decide if not given."""
    from divmatch.sequential import enough

    permutations, level = options["permutations"], options["level"]
    if permutations is None:
        precision = options["precision"]
        permutations = PERMUTATIONS if precision is None else enough(precision)
    wanted = LEVEL
    if options["equivalence"] is not None:
        if options["equivalence"] <= 0:
            raise SettingError(
                f"--equivalence {options['equivalence']:g}: expected a number above 0, the smallest "
                "divergence that matters"
            )
        wanted = 1 - 2 * (options["alpha"] or ALPHA)
        if wanted <= 0:
            raise SettingError(
                f"--alpha {options['alpha']:g}: --equivalence needs a level below 0.5"
            )
        if level is not None and not math.isclose(level, wanted):
            raise SettingError(
                f"--level {level:g}: --equivalence goes by the {wanted:g} interval, 1 - 2 alpha; leave "
                "it out"
            )
    return {"permutations": permutations, "level": wanted if level is None else level}


def check_permutations(permutations: int, alpha: float | None) -> None:
    """Refuse what could never reject: the smallest p-value of B permutations is 1 / (B + 1)."""
    least = math.ceil(1 / (ALPHA if alpha is None else alpha) - 1e-9) - 1
    if permutations < least:
        raise SettingError(
            f"--permutations {permutations}: p-values below 1 / {permutations + 1} cannot occur; give "
            f"at least {least} to reject at the {(ALPHA if alpha is None else alpha) * 100:g}% level"
        )


def check_precision(precision: float | None, alpha: float | None) -> None:
    """Refuse to stop before any draws could reject."""
    from divmatch.sequential import first_stop

    if precision is None:
        return
    level = ALPHA if alpha is None else alpha
    if 1 / (first_stop(precision) + 1) > level:
        raise SettingError(
            f"--precision {precision:g}: p-values below {1 / (first_stop(precision) + 1):.2g} cannot "
            f"occur; give at most {level:g} to reject at the {level * 100:g}% level"
        )


# ------------------------------------------------------------------------------------ verdict


def rules_of(
    results: list[Result], limits: gate.Limits, options: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The limits, then equivalence or, without it, the test itself."""
    made = gate.verdict(results, limits)
    rules = [] if made is None else list(made["rules"])
    if options["equivalence"] is not None:
        level = options["alpha"] or ALPHA
        return [*rules, equivalence(results[0], options["equivalence"], level)]
    if options["alpha"] is not None:
        rules.append(significance(results[0], options["alpha"]))
    return rules


def decided(session: Session, limited: Result, tested: Result) -> dict[str, Any] | None:
    """Limits of one result, and --alpha of the p-value of one."""
    made, alpha = gate.verdict([limited], session.limits()), session.options["alpha"]
    rules = [] if made is None else made["rules"]
    if alpha is not None:
        rules = [*rules, significance(tested, alpha)]
    return session.overridden(gate.combined(rules)) if rules else None


def significance(result: Result, alpha: float) -> dict[str, Any]:
    """The rule that fails when the test rejects."""
    if result.test is None:
        status, rule = "inconclusive", f"p undefined ? {alpha:g}"
    elif result.test.p_value <= alpha:
        status, rule = "fail", f"p {short(result.test.p_value)} <= {alpha:g}"
    else:
        status, rule = "pass", f"p {short(result.test.p_value)} > {alpha:g}"
    return _rule(result, "test", status, rule)


def equivalence(result: Result, delta: float, alpha: float) -> dict[str, Any]:
    """The rule that passes when the upper bound of level 1 - alpha is below delta."""
    bound = upper_bound(result, delta, alpha)
    if bound is None:
        return _rule(result, "equivalence", "inconclusive", f"upper undefined ? {delta:g}")
    if bound < delta:
        return _rule(
            result, "equivalence", "pass", f"upper {_bound(result, bound, delta)} < {delta:g}"
        )
    if not valid(result):
        rule = (
            f"upper {_bound(result, bound, delta)} ? {delta:g}: not valid near zero; give more rows"
        )
        return _rule(result, "equivalence", "inconclusive", rule)
    return _rule(
        result, "equivalence", "fail", f"upper {_bound(result, bound, delta)} >= {delta:g}"
    )


def _bound(result: Result, bound: float, delta: float) -> str:
    """The bound, with a word where it is not the interval's end that stands beside the value."""
    shown = short(bound)
    widened = result.ci is None or shown != short(result.ci.high)
    return f"{shown} (as wide as at {delta:g})" if widened else shown


def upper_bound(result: Result, delta: float, alpha: float) -> float | None:
    """The upper end of the interval, as wide as it would be if the truth were delta.

    A divergence grows with the square of a difference, so its standard error grows like its root:
    where the value is below delta the interval is too narrow for the question. The spread of the
    permuted values, which is what is left of it at equal distributions, is added as independent
    noise. Where the interval says nothing, there is a bound: of a sum of weighted chi-squares with
    standard deviation s at 0, the variance at D is at most s² + 2 sqrt(2) s D. In a design the value
    is too small by as much as the permuted values are below 0 in the mean.
    """
    from divmatch.intervals import normal_quantile

    if result.ci is None or not math.isfinite(result.value):
        return None
    centre, half = (result.ci.low + result.ci.high) / 2, (result.ci.high - result.ci.low) / 2
    null = result.test.null if result.test else {}
    if not null:
        return None
    if result.test and result.test.design:
        centre -= min(null["mean"], 0.0)
    noise, near = normal_quantile(1 - alpha) * null["sd"], max(centre, null["sd"])
    if 0 < near < delta:
        half *= math.sqrt(delta / near)
    if not valid(result):  # then its width is noise too: the most that the variance can grow
        half = max(
            half, normal_quantile(1 - alpha) * math.sqrt(8**0.5 * null["sd"] * max(delta, 0.0))
        )
    return centre + math.hypot(half, noise)


def valid(result: Result) -> bool:
    """Whether the interval is one, near zero too."""
    return all(note.code != "W04" for note in result.warnings)


def _rule(result: Result, name: str, status: str, rule: str) -> dict[str, Any]:
    return {
        "name": f"{result.id or result.metric} {name}",
        "status": status,
        "result": result.id or result.metric,
        "rule": f"{result.metric} {rule}",
        "severity": "fail",
    }


# --------------------------------------------------------------------------------------- text


def text_of(report: Report) -> str:
    """The result, and one sentence on what it means."""
    lines = []
    for result in report.results:
        lines += [result_line(result, report), conclusion(result, report)]
        if result.test is not None:
            lines.append(reach(result.test))
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
    said = f"{word} at the {alpha * 100:g}% level{size if seen else ''}"
    if "detectable" not in test.null:
        return said
    return (
        f"{said}; at this n {short(test.null['detectable'])} would be seen four times out of five"
    )


def reach(test: Test) -> str:
    """How well the p-value is known, and how often such a difference is seen."""
    parts = [] if test.design is None else [f"design {test.design}"]
    if test.error:
        parts.append(f"p +- {short(test.error)} Monte Carlo")
    if test.power is not None:
        parts.append(f"power {test.power:.2g} if the true value were the estimate")
    return "; ".join(parts)


def sections() -> dict[str, list[click.Parameter]]:
    """The shared options, with defaults that depend on others, and the designs."""
    made = {"Design": design_options(), **pair_sections()}
    for parameter in made["Uncertainty"]:
        if isinstance(parameter, click.Option) and parameter.name == "permutations":
            parameter.default = None
            parameter.help = (
                "Permutations for the p-value; each possible split once where there are no more. "
                f" [default: {PERMUTATIONS}; with --precision as many as it takes]"
            )
        if isinstance(parameter, click.Option) and parameter.name == "level":
            parameter.default = None
            parameter.help = (
                "Confidence level of the interval. "
                f" [default: {LEVEL}; with --equivalence 1 - 2 alpha]"
            )
    made["Uncertainty"].insert(1, precision_option())
    return made


def precision_option() -> click.Option:
    """When to stop."""
    return option(
        "--precision",
        metavar="X",
        type=Number(FINEST, 0.1),
        help="Stop permuting as soon as the p-value's Monte Carlo standard error is at most X; the "
        "p-value stays exact in level.",
    )


_SECTIONS = sections()
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
                help=f"Statistic, with settings if wanted: {', '.join(KNOWN)}; mmd:kernel=laplace, knn:k=10. "
                "energy sees every kind of difference and has nothing to tune.",
            ),
            option(
                "--alpha",
                metavar="A",
                type=Number(0, 1, min_open=True, max_open=True),
                help="Fail (exit 1) when p <= A; without it the 5% level is only reported. With "
                "--equivalence its level, and p is only reported.",
            ),
            option(
                "--equivalence",
                metavar="DELTA",
                type=Finite(),
                help="Pass only when the divergence is shown to be below DELTA: the upper end of the "
                "1 - 2 alpha interval, as wide as it is at DELTA, is; else fail (exit 1), or exit 3 where "
                "no interval is valid.",
            ),
            *(parameter for group in _SECTIONS.values() for parameter in group),
        ],
        examples=(
            "divmatch test real.npy gen.npy",
            "divmatch test real.npy gen.npy --statistic mmd:kernel=laplace --alpha 0.01",
            "divmatch test before.csv after.csv --paired patient",
            "divmatch test visits-old.parquet visits-new.parquet --cluster session --blocks site",
            "divmatch test real.npy gen.npy --equivalence 0.05 --precision 0.002 -f json",
        ),
        help="Two-sample test: could both files come from one distribution?\n\nA permutation test: "
        "the p-value is exact in level for any number of rows, ties and weights, "
        "(1 + #{T_b >= T}) / (B + 1), from every possible split where there are no more than B + 1. "
        "The effect comes with its interval, the power, and the smallest value that would have been "
        "seen in four cases out of five at this n.\n\nRows that are not independent need a design: "
        "--paired, --blocks, --cluster. Standard error and interval then go by pairs, blocks or "
        "clusters too.",
        short_help="Two-sample test: could both files come from one distribution?",
        sections=_SECTIONS,
        prepare=prepared,
        epilog="man divmatch-test has more.",
    )
}
