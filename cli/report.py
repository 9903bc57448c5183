"""A report: one document and its results, as text for people."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from divmatch.cli.main import printable
from divmatch.errors import counted
from divmatch.record import Result, Test

COLOURS = {
    "PASS": "32",
    "FAIL": "31",
    "INCONCLUSIVE": "33",
}
FEW = 6  # numbers of a setting that a line holds
TESTS = {  # how people call what the record calls by its name
    "wild-bootstrap": "wild bootstrap draw",
}


@dataclass(frozen=True)
class Report:
    """One document and the results behind it."""

    document: Mapping[str, Any]
    results: tuple[Result, ...]
    text: Callable[["Report"], str]
    colour: bool = False
    forms: Mapping[str, Callable[["Report"], str | bytes]] = field(default_factory=dict)

    def name(self, role: str) -> str:
        """The first input with this role."""
        return printable(
            next((i["name"] for i in self.document["inputs"] if i["role"] == role), role)
        )


def text_of(report: Report) -> str:
    """One line a result, then the verdict."""
    lines = [result_line(result, report) for result in report.results]
    return "\n".join([*lines, *verdict_lines(report), ""])


def result_line(result: Result, report: Report) -> str:
    """`energy distance  0.0312   95% CI 0.0274 .. 0.0351   p = 0.001 (999 permutations)   n = ...`."""
    parts = [f"{title(result, report)}  {measured(result)}"]
    if result.ci:
        parts.append(f"{interval(result)}{_why_moved(result)}")
    if result.error:
        parts.append(f"+- {short(result.error['monte_carlo_se'])} Monte Carlo")
    if result.test:
        parts.append(f"p = {short(result.test.p_value)} ({drawn(result.test)})")
    parts.append(convention(result))
    parts.append(f"n = {sizes(result)}   d = {result.d}")
    return "   ".join(parts)


def drawn(test: Test) -> str:
    """Where a p-value comes from: 999 permutations."""
    if not test.permutations:
        return test.method
    if test.method == "permutation and normal":
        return f"larger of normal and {counted(test.permutations, 'permutation')}"
    if test.method == "exact":
        return f"all {counted(test.permutations + 1, 'split')}"
    return counted(test.permutations, TESTS.get(test.method, test.method))


def sizes(result: Result) -> str:
    """The rows of every sample."""
    return ", ".join(map(str, result.n))


def title(result: Result, report: Report) -> str:
    """What the number is, with its direction where it has one."""
    from divmatch.estimator import quantity

    of = quantity(result.metric)
    name = of.methods.get(result.method, of).titled(result.params)
    p, q = report.name("p"), report.name("q")
    if result.direction == "P||Q":
        return f"{name}(P={p} || Q={q})"
    if result.direction == "Q||P":
        return f"{name}(P={q} || Q={p})"
    if result.direction == "P":
        return f"{name}({p})"
    return name


def measured(result: Result) -> str:
    """Value with its unit, if it has one."""
    bare = result.unit in ("1", "") or result.unit.startswith("data unit")
    unit = "" if bare or math.isnan(result.value) else f" {result.unit}"
    return f"{short(result.value)}{unit}"


def interval(result: Result) -> str:
    """The confidence interval."""
    ci = result.ci
    assert ci is not None  # noqa: S101
    return f"{ci.level * 100:g}% CI {short(ci.low)} .. {short(ci.high)}"


def moved(result: Result) -> bool:
    """Whether the interval misses its own value, because it is moved by the value's bias.

    Rows that were read back know no bias, but their interval is where it was.
    """
    ci = result.ci
    if result.bias and result.bias["corrected"] == "value":
        return False
    known = bool(result.bias) or "resumed" in result.extra
    return ci is not None and known and not ci.low <= result.value <= ci.high


def _why_moved(result: Result) -> str:
    bias = result.bias
    return f" (interval moved by bias {bias['estimate']:.2g})" if bias and moved(result) else ""


def convention(result: Result) -> str:
    """Method and settings: the same two files give other numbers under other conventions."""
    params = {key: value for key, value in result.params.items() if key != "reason"}
    why = [f"({result.params['reason']})"] if "reason" in result.params else []
    return " ".join([result.method, *shown(params), *why])


def shown(params: Mapping[str, Any]) -> list[str]:
    """``key=value`` of every setting that says something in a line."""
    return [
        f"{key}={_word(value)}"
        for key, value in params.items()
        if value is not None and value is not False and not isinstance(value, Mapping)
    ]


def _word(value: object) -> str:
    """A setting as one word: rounded numbers, and the first few of many."""
    if isinstance(value, list | tuple):
        more = [f"… ({len(value)})"] * (len(value) > FEW)
        return ",".join([*map(_word, value[:FEW]), *more])
    return _told(value) if isinstance(value, float) else str(value)


def _told(value: float) -> str:
    """Four significant digits, or as many as tell the number from a whole one, rounding apart."""
    first = short(value)
    digits, text = 4, first
    while text.isdecimal() and float(text) != value and digits < 12:
        digits += 1
        text = f"{value:.{digits}g}"
    return first if text.isdecimal() else text


def verdict_lines(report: Report) -> list[str]:
    """PASS or FAIL, one line a rule."""
    verdict = report.document.get("verdict")
    if not verdict:
        return []
    several = len({rule["name"].rpartition(" ")[0] for rule in verdict["rules"]}) > 1
    lines = []
    for rule in verdict["rules"]:
        word = rule["status"].upper()
        name = f"{printable(rule.get('sample') or rule['result'])}: " if several else ""
        shown = f"\033[{COLOURS[word]}m{word}\033[0m" if report.colour else word
        lines.append(f"{shown}  {name}{rule['rule']}")
    return lines


def short(value: float) -> str:
    """Four significant digits."""
    if value is None or math.isnan(value):
        return "undefined"
    return f"{value:.4g}"


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of words aligned in columns, the first to the left, numbers to the right."""
    widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if c == 0 else cell.rjust(width)
            for c, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
