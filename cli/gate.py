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
    minimum the other way round: lower is always the cautious side, which spares the data.
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
    word, value = _compared(result, decide, above=above)
    if value is None or math.isnan(value):
        status, sign = "inconclusive", "?"
    elif above:
        status, sign = ("fail", ">") if value > limit else ("pass", "<=")
    else:
        status, sign = ("fail", "<") if value < limit else ("pass", ">=")
    shown = "undefined" if value is None else f"{value:.4g}"
    name = f"{result.id or result.metric} {'max' if above else 'min'}"
    if result.sample:
        name = f"{result.sample} {name}"
    return {
        "name": name,
        "status": status,
        "result": result.id or result.metric,
        **({"sample": result.sample} if result.sample else {}),
        "rule": f"{result.metric} {word} {shown} {sign} {limit:g}",
        "severity": "fail",
    }


def _compared(result: Result, decide: str, *, above: bool) -> tuple[str, float | None]:
    """What is held against the limit: the value, or a confidence bound."""
    if decide == "point" or (result.ci is None and math.isinf(result.value)):
        return "value", result.value
    if result.ci is None:
        return decide, None
    low = (decide == "lower") == above
    return ("lower", result.ci.low) if low else ("upper", result.ci.high)
