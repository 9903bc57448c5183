"""Importance weights: closed forms of Gaussians, known tails."""

import numpy as np
import pytest
from scipy import stats

import divmatch
from divmatch.errors import SettingError
from divmatch.transport.importance import generalised_pareto, pareto
from tests.tolerances import LUCK, ROUNDING


def fit(log_p, log_q, **options):
    rows = np.column_stack([log_p, log_q])
    return divmatch.match.weights(rows, method="is", log_p="0", log_q="1", **options)


def gaussian(n, s2, seed=0):
    """Draws of N(0, s2) with ln p of N(0, 1) less its constant, and ln q."""
    x = np.random.default_rng([5, seed]).normal(0, np.sqrt(s2), n)
    return x, -0.5 * x**2, stats.norm.logpdf(x, scale=np.sqrt(s2))


def test_raw_weights_are_the_ratios():
    _, p, q = gaussian(200, 2.0)
    expected = np.exp(p - q)
    found = fit(p, q, smooth=False).weights
    assert found == pytest.approx(expected / expected.sum(), abs=ROUNDING(200))


def test_chi2_of_gaussians_is_its_closed_form():
    """E_q (p/q)² = s2/√(2 s2 − 1): 1.1547005 at s2 = 2; an effective size of 86.6 %."""
    x, p, q = gaussian(200_000, 2.0)
    found = fit(p, q, smooth=False)
    r = np.exp(p - q) / np.sqrt(2 * np.pi)
    error = np.std(r**2) / np.sqrt(len(x)) + 2 * 1.1547 * np.std(r) / np.sqrt(len(x))
    assert found.fit.facts["chi2"] == pytest.approx(0.154700538, abs=LUCK(error))
    assert found.of("ess").value / len(x) == pytest.approx(0.8660254, abs=LUCK(error))


def test_evidence_is_the_constant_of_p():
    _, p, q = gaussian(20_000, 2.0, 1)
    facts = fit(p, q).fit.facts
    truth = 0.5 * np.log(2 * np.pi)
    assert facts["log_evidence"] == pytest.approx(truth, abs=LUCK(facts["log_evidence_se"]))
    assert facts["log_upper"] >= facts["log_evidence"]


def test_bias_of_the_evidence_is_what_many_small_samples_show():
    found = [fit(*gaussian(50, 4.0, seed)[1:]).fit.facts for seed in range(300)]
    off = np.array([one["log_evidence"] for one in found]) - 0.5 * np.log(2 * np.pi)
    told = np.mean([one["log_evidence_bias"] for one in found])
    assert off.mean() == pytest.approx(told, abs=LUCK(off.std() / np.sqrt(300)) + abs(told) / 2)


def test_constants_of_the_densities_change_no_weight():
    _, p, q = gaussian(300, 2.0)
    assert fit(p + 700, q - 700).weights == pytest.approx(fit(p, q).weights, abs=ROUNDING(300))


@pytest.mark.parametrize("k", [0.2, 0.5, 0.9])
def test_shape_of_a_pareto_tail_is_found(k):
    over = np.sort(stats.genpareto.rvs(k, scale=3.0, size=20_000, random_state=3))
    sigma, shape = generalised_pareto(over)
    error = (1 + k) / np.sqrt(20_000)
    assert shape == pytest.approx(k, abs=LUCK(error))
    assert sigma == pytest.approx(3.0, abs=LUCK(3 * np.sqrt(2 * (1 + k)) / np.sqrt(20_000)))


def test_a_narrow_proposal_is_warned_of_and_a_wide_one_is_not():
    narrow, wide = (fit(*gaussian(5000, s2)[1:]) for s2 in (0.1, 2.0))
    assert narrow.fit.facts["pareto_k"] > 0.7 > wide.fit.facts["pareto_k"]
    assert ["W73" in [n.code for n in one.after.warnings] for one in (narrow, wide)] == [
        True,
        False,
    ]


def test_smoothing_tames_the_largest_weights_and_keeps_their_order():
    _, p, q = gaussian(2000, 0.4)
    raw, smooth = fit(p, q, smooth=False).weights, fit(p, q).weights
    assert smooth.max() < raw.max()
    assert (np.diff(smooth[np.argsort(raw, kind="stable")]) >= -1e-15).all()


def test_tails_of_equal_weights_are_left_alone():
    raw = np.ones(100)
    assert pareto(raw, np.full(100, 0.01))[0] is None


def test_both_columns_have_to_be_named():
    with pytest.raises(SettingError, match="--log-p: x has 2 columns; name the one"):
        divmatch.match.weights(np.zeros((5, 2)), method="is")
