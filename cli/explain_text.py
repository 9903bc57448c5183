"""What `divmatch explain` prints for people."""

from collections.abc import Sequence
from typing import Any

from divmatch.cli.main import printable
from divmatch.cli.report import Report, columns, drawn, interval, short, sizes, verdict_lines
from divmatch.errors import counted
from divmatch.record import Interval, Result

ALPHA = 0.05  # of the rules that are shown


def text_of(report: Report) -> str:
    """The whole, the columns, the pairs, the rules."""
    whole, *rest = report.results
    shares = [r for r in rest if r.metric == "share"]
    top = int(report.document["settings"]["top"])
    lines = [_whole(whole, report)]
    if shares:
        lines += [_halves(shares[:2]), "", *_table(shares[2:], top)]
        pairs = [r for r in rest if r.metric == "dependence"]
        lines += ["", *_pairs(pairs)] if pairs else []
    else:
        lines += [note.message for note in whole.warnings if note.code == "W76"]
    rules = _rules([r for r in rest if r.metric == "rule"])
    lines += ["", *rules] if rules else []
    return "\n".join([*lines, *verdict_lines(report), ""])


def _whole(whole: Result, report: Report) -> str:
    parts = [f"difference of {report.name('p')} and {report.name('q')}  {short(whole.value)}"]
    if whole.ci:
        parts.append(interval(whole))
    if whole.test:
        parts.append(f"p = {short(whole.test.p_value)} ({drawn(whole.test)})")
    parts.append(f"n = {sizes(whole)}   d = {whole.d}")
    return "   ".join(parts)


def _halves(shares: Sequence[Result]) -> str:
    words = ("marginals explain", "dependence explains")
    told = (
        f"{word} {_percent(one.value)} {_bounds(one.ci)}"
        for word, one in zip(words, shares, strict=True)
    )
    return ", ".join(told)


def _table(shares: Sequence[Result], top: int) -> list[str]:
    """Three results a column, the largest share first."""
    threes = [shares[k : k + 3] for k in range(0, len(shares), 3)]
    level = shares[0].ci.level if shares and shares[0].ci else 0.95
    head = ["column", "share", f"{level * 100:g}% CI", "marginal", "dependence", "P -> Q"]
    rows = []
    for three in threes[:top]:
        both = three[0]
        values = [_percent(one.value) for one in three]
        name = printable(both.params["column"])
        rows.append([name, values[0], _bounds(both.ci), *values[1:], _changed(both.params)])
    lines = columns([head, *rows])
    if len(threes) > top:
        rest = sum(three[0].value for three in threes[top:])
        lines.append(f"{counted(len(threes) - top, 'more column')}: {_percent(rest)}")
    return lines


def _changed(params: Any) -> str:
    """`median 41 -> 47`, `90% below 41 -> 80`, `ios 31% -> 44%`."""
    if "quantiles" in params:
        low, high = params["quantiles"]
        name = "median" if params["level"] == 0.5 else f"{100 * params['level']:g}% below"
        return f"{name} {short(low)} -> {short(high)}"
    low, high = params["masses"]
    return f"{printable(params['word'])} {_mass(low)} -> {_mass(high)}"


def _pairs(pairs: Sequence[Result]) -> list[str]:
    rows = [["pair", "dependence", "share", "rank correlation"]]
    for one in pairs:
        both = one.params.get("rank_correlation")
        told = f"{both[0]:.2f} -> {both[1]:.2f}" if both else ""
        name = " x ".join(printable(column) for column in one.extra["columns"])
        rows.append([name, short(one.value), _percent(one.params["share"]), told])
    if not any(row[-1] for row in rows[1:]):
        rows = [row[:-1] for row in rows]
    return columns(rows)


def _rules(rules: Sequence[Result]) -> list[str]:
    """Those that hold on the other half."""
    held = [one for one in rules if one.test and (one.test.adjusted or 0.0) <= ALPHA]
    lines = [_rule(one) for one in held]
    lost = len(rules) - len(held)
    if lost:
        lines.append(f"{counted(lost, 'rule')} of one half did not hold on the other")
    return lines


def _rule(one: Result) -> str:
    """`amount > 900 and device = ios: 3.1 x more mass [2.6, 3.7]`."""
    assert one.ci is not None and one.test is not None  # noqa: S101, PT018
    p, q = one.params["masses"]
    low, high, ratio, word = one.ci.low, one.ci.high, one.value, "more"
    if ratio < 1:
        low, high = (1 / high if high else float("inf")), (1 / low if low else float("inf"))
        ratio, word = (1 / ratio if ratio else float("inf")), "less"
    return (
        f"{printable(one.params['rule'])}: {ratio:.3g} x {word} mass [{low:.3g}, {high:.3g}], "
        f"{_mass(p)} -> {_mass(q)} of rows, p = {short(one.test.adjusted or 0.0)}"
    )


def _mass(value: float) -> str:
    """A share of the rows, which may be rare."""
    return f"{100 * value:.3g}%"


def _percent(value: float) -> str:
    """A share of the difference."""
    return f"{_tenths(value)}%"


def _bounds(ci: Interval | None) -> str:
    return f"[{_tenths(ci.low)}, {_tenths(ci.high)}]" if ci else ""


def _tenths(value: float) -> str:
    return f"{round(100 * value, 1) + 0.0:.1f}"  # no minus zero
