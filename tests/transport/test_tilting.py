"""Tilting: closed forms, and which columns and means are refused."""

import numpy as np
import pytest

import divmatch
from divmatch.errors import InconclusiveError, SettingError

LINE = [-1.0, 0.0, 1.0]


def fit(x, targets, **options):
    return divmatch.match.weights(x, method="tilt", targets=targets, **options)


def test_three_points_have_their_known_weights():
    assert fit(LINE, "0=0.5").weights == pytest.approx([0.116204, 0.267592, 0.616204], abs=5e-7)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("el", [0.137146, 0.225708, 0.637146]), ("chi2", [1 / 12, 1 / 3, 7 / 12])],
)
def test_any_divergence_can_be_asked_for(kind, expected):
    assert fit(LINE, "0=0.5", kind=kind).weights == pytest.approx(expected, abs=5e-7)


def test_columns_have_their_means_and_others_are_free():
    rows = np.random.default_rng(0).normal(size=(200, 3))
    weights = fit(rows, "0=0.3,2=-0.2").weights
    assert weights @ rows[:, [0, 2]] == pytest.approx([0.3, -0.2], abs=1e-8)
    ratio = (
        np.log(weights)
        - rows[:, [0, 2]]
        @ np.linalg.lstsq(
            np.column_stack([rows[:, [0, 2]], np.ones(200)]), np.log(weights), rcond=None
        )[0][:2]
    )
    assert np.ptp(ratio) == pytest.approx(0.0, abs=1e-9)  # exp(λ·φ) and nothing else


def test_too_much_is_warned_of():
    rows = np.random.default_rng(1).normal(size=300)
    assert "W74" in [note.code for note in fit(rows, "0=2.4").after.warnings]


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (None, "--method tilt: give --targets COLUMN=NUMBER"),
        ("0", "--targets 0: expected COLUMN=NUMBER"),
        ("0=x", "--targets 0=x: expected COLUMN=NUMBER"),
        ("0=1,0=2", "--targets: '0' is given twice"),
        ("score=1", "--targets score: x has no such column of numbers"),
    ],
)
def test_targets_that_say_nothing_are_refused(targets, message):
    with pytest.raises(SettingError, match=message):
        fit(LINE, targets)


def test_a_mean_beyond_all_rows_is_named():
    with pytest.raises(
        InconclusiveError, match=r"no weights of x give 0 = 2 \(rows of x have -1 \.\. 1\)"
    ):
        fit(LINE, "0=2")
