"""Limits: when a result passes, fails, or allows no decision."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from divmatch.cli.main import GATE, INCONCLUSIVE, OK
from divmatch.record import Result

CODES = {"pass": OK, "fail": GATE, "inconclusive": INCONCLUSIVE}


@dataclass(frozen=True)
class Limits:
    """``decide`` is lower (fail when even the bound nearest to passing fails), point, or upper.

    For a maximum, lower looks at the lower confidence bound and upper at the upper one; for a
    minimum the other way round: lower is always the cautious side, which spares the data. A value
    that is not finite or not converged is inconclusive, and so is what an interval that is not valid
    (W04) would have to show.
    """

    maximum: float | None = None
    minimum: float | None = None
    decide: str = "lower"


def verdict(results: Sequence[Result], limits: Limits) -> dict[str, Any] | None:
    """The `verdict` object of the schema, or None when there are no limits."""
    rules = [rule for result in results for rule in _rules(result, limits)]
    if not rules:
        return None
    return combined(rules)


def combined(rules: list[dict[str, Any]]) -> dict[str, Any]:
    """Fail if one rule fails, else inconclusive if one is, else pass."""
    found = {rule["status"] for rule in rules}
    status = next((s for s in ("fail", "inconclusive") if s in found), "pass")
    return {"status": status, "exit_code": CODES[status], "rules": rules}


def _rules(result: Result, limits: Limits) -> list[dict[str, Any]]:
    found = []
    for limit, above in ((limits.maximum, True), (limits.minimum, False)):
        if limit is not None and result.status != "error":
            found.append(_rule(result, limit, limits.decide, above=above))
    return found


def _rule(result: Result, limit: float, decide: str, *, above: bool) -> dict[str, Any]:
    status, rule = _decided(result, limit, decide, above=above)
    name = f"{result.id or result.metric} {'max' if above else 'min'}"
    if result.sample:
        name = f"{result.sample} {name}"
    return {
        "name": name,
        "status": status,
        "result": result.id or result.metric,
        **({"sample": result.sample} if result.sample else {}),
        "rule": f"{result.metric} {rule}",
        "severity": "fail",
    }


def _decided(result: Result, limit: float, decide: str, *, above: bool) -> tuple[str, str]:
    """The status of one limit, and the comparison that it follows from."""
    word, value = _compared(result, decide, above=above)
    if result.status == "inconclusive":
        why = "no number" if math.isnan(result.value) else "not converged"
        return "inconclusive", f"{word} {_shown(value)} ? {limit:g}: {why}"
    if value is None and math.isfinite(result.value):
        return "inconclusive", f"{word} undefined ? {limit:g}: no interval, see --decide point"
    if value is None or math.isnan(value) or not math.isfinite(result.value):
        return "inconclusive", f"{word} {_shown(value)} ? {limit:g}"
    status = "fail" if _beyond(value, limit, above=above) else "pass"
    if (
        word != "value"
        and not _valid(result)
        and not _trusted(result, limit, status, decide, above)
    ):
        return _near_zero(result, limit, word, value, lower_maximum=above and decide == "lower")
    sign = (">" if above else "<") if status == "fail" else ("<=" if above else ">=")
    return status, f"{word} {_shown(value)} {sign} {limit:g}"


def _beyond(value: float, limit: float, *, above: bool) -> bool:
    return value > limit if above else value < limit


def _valid(result: Result) -> bool:
    return all(note.code != "W04" for note in result.warnings)


def _trusted(result: Result, limit: float, status: str, decide: str, above: bool) -> bool:
    """Whether a decision stands although the interval is not valid near zero.

    Near zero a bound cannot show that there is a difference, whatever it is: it fails no maximum
    and proves no minimum. It may show that there is hardly any, if the value says so too. A pass by
    the cautious bound is no claim: nothing speaks against the data.
    """
    if decide == "lower" and status == "pass":
        return True
    small = status == ("pass" if above else "fail")
    return small and _beyond(result.value, limit, above=above) == (status == "fail")


def _near_zero(
    result: Result, limit: float, word: str, value: float, *, lower_maximum: bool
) -> tuple[str, str]:
    """What the permutations say of a maximum, else no decision, and what would bring one."""
    test, ci = result.test, result.ci
    if lower_maximum and test and ci and test.p_value > 1 - ci.level and limit >= 0:
        return "pass", f"p {_shown(test.p_value)}, no difference <= {limit:g}"
    advice = "--permutations or " if lower_maximum and not test else ""
    return (
        "inconclusive",
        f"{word} {_shown(value)} ? {limit:g}: not valid near zero; use {advice}--decide point",
    )


def _shown(value: float | None) -> str:
    return "undefined" if value is None or math.isnan(value) else f"{value:.4g}"


def _compared(result: Result, decide: str, *, above: bool) -> tuple[str, float | None]:
    """What is held against the limit: the value, or a confidence bound."""
    if decide == "point" or (result.ci is None and math.isinf(result.value)):
        return "value", result.value
    if result.ci is None:
        return decide, None
    low = (decide == "lower") == above
    return ("lower", result.ci.low) if low else ("upper", result.ci.high)
