"""Distance covariance and correlation between groups of columns of one sample."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np

from divmatch.errors import InconclusiveError, SettingError
from divmatch.estimator import Array, Estimate, Pooled, Quantity
from divmatch.estimators import distance_moments as moments
from divmatch.estimators.column_groups import (
    Groups,
    X,
    Y,
    constant_groups,
    covariance_of,
    distances_of,
    groups_of,
)
from divmatch.estimators.dependence_test import plan
from divmatch.estimators.quadratic import negative
from divmatch.record import Note, Test
from divmatch.samples import Samples
from divmatch.settings import Setting

Kind = Annotated[
    Literal["correlation", "covariance"],
    Setting("the squared correlation, free of scale, or the squared covariance", many=True),
]
Form = Annotated[
    Literal["pair", "joint"],
    Setting(
        "pair: x against all y columns together; joint: mutual dependence of all groups",
        aliases={"concatenated": "pair"},
    ),
]


def _title(settings: Mapping[str, Any]) -> str:
    joint = "j" if settings["form"] == "joint" else ""
    return f"{joint}{'dcor' if settings['kind'] == 'correlation' else 'dcov'}^2"


def _unit(settings: Mapping[str, Any]) -> str:
    if settings["kind"] == "correlation":
        return "1"
    groups = 1 + len(str(settings["y"]).split(";")) if settings["form"] == "joint" else 2
    return f"data unit^{groups}"


DCOR = Quantity(
    "dcor",
    title=_title,
    unit=_unit,
    direction="P",
    default="u",
    degenerate=True,
    scales=("auto", "none", "ref-sd", "ref-iqr"),
    examples=(
        "divmatch dcor real.npy --x 0 --y 1-3",
        "divmatch dcor real.parquet --x amount --y age --permutations 199",
        "divmatch dcor real.parquet --x amount --y age --y device --form joint",
    ),
)


@DCOR.estimator("u", source="Székely & Rizzo 2013, J. Multivar. Anal. 117, eq. (3.7)")
def dcor_u(
    sample: Samples,
    *,
    x: X = None,
    y: Y = None,
    kind: Kind = "correlation",
    form: Form = "pair",
) -> Estimate:
    """Squared distance correlation between columns of one sample, bias-corrected.

    dCov² = E|X − X'||Y − Y'| − 2 E|X − X'||Y − Y''| + E|X − X'| E|Y − Y'|, and dCor² =
    dCov²(X, Y) / √(dCov²(X, X) dCov²(Y, Y)). Zero if and only if X and Y are independent, at most 1,
    reached when one is a similarity of the other; 0 where a group is constant. The means run over
    different rows only: the covariance is unbiased, and both are negative about half of the time for
    independent groups.

    Use it as the default measure of any dependence between two groups of columns, of any widths.
    Columns of one group count by their scale: standardise them (--scale) unless they share a unit.

    The form joint is JdCov² of k groups (c = 1): zero if and only if all groups are mutually
    independent, so it also reacts to dependence within the y groups; for k = 2 it is dCov². The form
    pair of several y groups takes their columns together (CCdCov): zero if and only if X is
    independent of all of them jointly, whatever holds among them.

    Parameters
    ----------
    sample : Samples
        Rows of shape (n, d), weighted or not.
    x : str
        Columns of the first group: names, positions or globs with commas. Without y, all others are y;
        without both, there must be two columns.
    y : str or list of str
        Columns of the other group, or one text for each of several groups.
    kind : str
        correlation, or covariance; for joint, the correlation divides the distances of every group
        by the root of its distance variance.
    form : str
        pair or joint.

    Returns
    -------
    Estimate
        dCor² (not its root), without unit, or dCov² in (data unit)² (joint: ^k), with the influence of
        every row.

    Raises
    ------
    SettingError
        When a column is in two groups, or weights meet what is not defined for them: a permutation
        of y would give a row the weight of another, and joint has no weighted U-statistic.
    InconclusiveError
        With fewer than 4 rows that carry weight.

    Notes
    -----
    Without --permutations, the p-value of the pair is the chi-square approximation
    P(χ²₁ > n dCor² + 1), valid (and cautious) for levels up to 0.05. Permutations move the rows of y,
    of every y group by itself for joint.

    Cost: O(n log n) time for two single columns, O(n) memory; else O(n² d) time, O(n) memory. B
    permutations B times that.

    Source: Székely & Rizzo 2013, J. Multivar. Anal. 117, eq. (3.7); joint: Chakraborty & Zhang 2019,
    J. Am. Stat. Assoc. 114; chi-square: Shen, Panda & Vogelstein 2022, J. Comput. Graph. Stat. 31.

    Examples
    --------
    >>> import divmatch
    >>> rows = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    >>> round(divmatch.dcor(rows * 2).value, 6)
    -0.166667
    """
    return _estimate(sample, x, y, kind, form, unbiased=True)


@DCOR.estimator("v", source="Székely, Rizzo & Bakirov 2007, Ann. Stat. 35, eq. (2.18)")
def dcor_v(
    sample: Samples,
    *,
    x: X = None,
    y: Y = None,
    kind: Kind = "correlation",
    form: Form = "pair",
) -> Estimate:
    """Squared distance correlation of an empirical distribution (V-statistic).

    The same formula with every pair counted: between 0 and 1 for the pair; biased upward, the more
    the more columns a group has (towards 1 when they outnumber the rows).

    Use it when the rows are the whole population, or when integer weights must equal repeated rows.

    Parameters
    ----------
    sample : Samples
        Rows of shape (n, d), weighted or not.
    x : str
        As for the method u.
    y : str or list of str
        As for the method u.
    kind : str
        As for the method u.
    form : str
        As for the method u.

    Returns
    -------
    Estimate
        dCor² (not its root), without unit, or dCov² in (data unit)² (joint: ^k), with the influence of
        every row.

    Raises
    ------
    SettingError
        When a column is in two groups, or rows with weights are to be permuted.

    Notes
    -----
    Cost: O(n log n) time for two single columns, O(n) memory; else O(n² d) time, O(n) memory. B
    permutations B times that.

    Source: Székely, Rizzo & Bakirov 2007, Ann. Stat. 35, eq. (2.18); joint: Chakraborty & Zhang 2019,
    J. Am. Stat. Assoc. 114.

    Examples
    --------
    >>> import divmatch
    >>> divmatch.dcor([[0.0, 0.0], [0.0, 0.0], [1.0, 1.0], [1.0, 1.0]], method="v").value
    1.0
    """
    return _estimate(sample, x, y, kind, form, unbiased=False)


@dcor_u.pooled
def dcor_u_plan(pool: Samples, **settings: Any) -> Pooled:
    """The sums that a permutation changes."""
    return plan(pool, unbiased=True, **settings)


@dcor_v.pooled
def dcor_v_plan(pool: Samples, **settings: Any) -> Pooled:
    """The sums that a permutation changes."""
    return plan(pool, unbiased=False, **settings)


def _estimate(
    sample: Samples, x: str | None, y: str | None, kind: str, form: str, *, unbiased: bool
) -> Estimate:
    groups = groups_of(sample, x, y, form)
    made = _joint if form == "joint" else _pair
    value, influence, notes, test = made(sample, groups, kind, unbiased)
    return Estimate(
        value,
        terms_x=influence,
        params={"x": groups.x, "y": groups.y},
        notes=(*notes, *negative(value, "dependence")) if unbiased else notes,
        test=test,
    )


Found = tuple[float, Array, tuple[Note, ...], Test | None]


def _pair(sample: Samples, groups: Groups, kind: str, unbiased: bool) -> Found:
    """dCov², or dCor² with the influences of numerator and denominator."""
    one, other = groups.columns
    both = covariance_of(sample, one, other, unbiased)
    variances = [covariance_of(sample, g, g, unbiased) for g in (one, other)]
    notes, size = constant_groups(sample, groups), _size(variances)
    correlation = both.value / size if size > 0 and not notes else 0.0
    test = None
    if unbiased and sample.weights is None:
        p_value = moments.chi_square_tail(sample.n * correlation + 1) if correlation else 1.0
        test = Test(p_value, "chi-square", 0, {})
    if kind == "covariance":
        return (0.0 if notes else both.value), 2.0 * both.rows, notes, test
    if not correlation:
        return 0.0, np.zeros(sample.n), notes, test
    share = sum(v.rows / v.value for v in variances)
    return correlation, 2.0 * both.rows / size - correlation * share, notes, test


def _size(variances: Sequence[moments.Covariance]) -> float:
    """√(dVar²(X) dVar²(Y)), 0 where one is none: a U-statistic can be negative."""
    values = [v.value for v in variances]
    return float(np.sqrt(values[0]) * np.sqrt(values[1])) if min(values) > 0 else 0.0


def _joint(sample: Samples, groups: Groups, kind: str, unbiased: bool) -> Found:
    if len(groups.columns) < 3:
        raise SettingError("dcor: --form joint needs three groups: --x A --y B --y C")
    if unbiased and sample.weights is not None:
        raise SettingError(
            "dcor: --form joint has no U-statistic for rows with weights; choose --method v"
        )
    if unbiased and sample.n < 4:
        raise InconclusiveError("dcor: the U-statistic needs 4 rows; choose --method v")
    notes = constant_groups(sample, groups)
    own = _own(sample, groups, kind, unbiased)
    if own is not None and (notes or min(v.value for v in own) <= 0):
        return 0.0, np.zeros(sample.n), notes, None
    distances = [distances_of(sample, g) for g in groups.columns]
    made = moments.joint_covariance(distances, own, sample.masses(), unbiased=unbiased)
    return made.value, made.influence, notes, None


def _own(
    sample: Samples, groups: Groups, kind: str, unbiased: bool
) -> list[moments.Covariance] | None:
    """The distance variance of every group, where its distances are divided by the root of it."""
    if kind == "covariance":
        return None
    return [covariance_of(sample, g, g, unbiased) for g in groups.columns]
