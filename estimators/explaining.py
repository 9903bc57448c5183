"""`divmatch.explain`: whether there is a difference, which columns make it, and where it is."""

from dataclasses import dataclass

from numpy.typing import ArrayLike

from divmatch.errors import SettingError
from divmatch.estimators.explanation import BINS, Explanation, explained
from divmatch.estimators.explanation_rules import Rule, rules
from divmatch.estimators.explanation_test import whole_test
from divmatch.intervals import normal_quantile
from divmatch.record import Test
from divmatch.samples import Samples, as_samples, check_partners

ALPHA = 0.05
PERMUTATIONS = 199


@dataclass(frozen=True, eq=False)
class Account:
    """What makes two samples differ.

    ``seen`` says whether there is a difference to explain at all: by the test, or without one by the
    interval of the whole. Shares of what is not there mean nothing.
    """

    parts: Explanation
    test: Test | None
    rules: tuple[Rule, ...]
    seen: bool


def explain(
    x: ArrayLike | Samples,
    y: ArrayLike | Samples,
    *,
    weights_x: ArrayLike | None = None,
    weights_y: ArrayLike | None = None,
    bins: int = BINS,
    top: int = 5,
    level: float = 0.95,
    alpha: float = ALPHA,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> Account:
    """Which columns, pairs of columns and regions make two samples differ.

    Parameters
    ----------
    x, y : array_like
        Rows of P and Q, shapes (n, d) and (m, d).
    weights_x, weights_y : array_like, optional
        Weights of the rows.
    bins : int
        Numbers are seen at bins - 1 levels of their ranks.
    top : int
        The most rules that are tested.
    level : float
        Of the intervals of the rules.
    alpha : float
        Level of the test that says whether there is a difference.
    permutations : int
        For that test; 0 for none.
    seed : int
        Of all randomness.

    Returns
    -------
    Account
        The parts with standard errors, the test, the rules.

    Examples
    --------
    >>> import numpy as np
    >>> import divmatch
    >>> rows = np.random.default_rng(0).normal(size=(200, 2))
    >>> found = divmatch.explain(rows[:100], rows[100:] + [0.0, 2.0])
    >>> [round(one.shares[0].value, 1) for one in found.parts.effects]
    [-0.0, 1.0]
    """
    p, q = as_samples(x, "x", weights_x), as_samples(y, "y", weights_y)
    check_partners(p, q)
    if bins < 2:
        raise SettingError(f"bins {bins}: expected a whole number, at least 2")
    parts = explained(p, q, bins=bins, seed=seed)
    test = None
    if permutations:
        test = whole_test(p, q, bins=bins, permutations=permutations, seed=seed)
        seen = test.p_value <= alpha
    else:
        low = parts.whole.value - normal_quantile(0.5 + level / 2) * parts.whole.se
        seen = low > 0
    found = rules(p, q, top=top, level=level, seed=seed)
    return Account(parts, test, found, seen and parts.shares is not None)
