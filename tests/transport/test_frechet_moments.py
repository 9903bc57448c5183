"""Fréchet distance to stored moments: as good as their rows, and refused where they are none."""

import numpy as np
import pytest

import divmatch
from divmatch.cli.main import run
from divmatch.errors import SampleError, SettingError
from divmatch.moments import as_moments, read_moments
from tests.tolerances import LUCK


def pair(n=400, m=300, d=3):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, d)), rng.normal(size=(m, d)) * 1.3 + 0.4


def stored(rows, n=None):
    return as_moments(rows.mean(axis=0), np.cov(rows.T), len(rows) if n is None else n)


def codes(result):
    return {note.code for note in result.warnings}


@pytest.mark.parametrize("which", [(True, False), (False, True), (True, True)])
def test_moments_give_the_value_of_their_rows(which):
    samples = pair()
    given = [stored(rows) if hidden else rows for rows, hidden in zip(samples, which, strict=True)]
    expected = divmatch.frechet(*samples, correction="none").value
    assert divmatch.frechet(*given, correction="none").value == pytest.approx(expected, rel=1e-12)


def test_moments_of_gaussian_rows_give_their_standard_error_and_bias():
    x, y = pair()
    found, expected = divmatch.frechet(stored(x), y), divmatch.frechet(x, y)
    assert found.se == pytest.approx(expected.se, rel=LUCK(400**-0.5))
    assert found.value == pytest.approx(expected.value, abs=0.2 * expected.params["plug_in_bias"])


def test_moments_of_the_rows_on_one_side_leave_the_other_sides_error():
    x, y = pair()
    exact, counted = (divmatch.frechet(stored(x, n), y) for n in (0, 400))
    assert exact.se < counted.se
    assert "W60" in codes(exact)


def test_number_of_rows_is_in_the_record():
    x, y = pair()
    assert divmatch.frechet(stored(x), y).n == (400, 300)


@pytest.mark.parametrize(
    ("mean", "covariance", "message"),
    [
        ([0, 0], np.eye(3), "shape"),
        ([0, 0], [[1, 2], [2, 1]], "negative eigenvalue"),
        ([0, 0], [[1, 0.5], [0, 1]], "not symmetric"),
        ([0, np.nan], np.eye(2), "NaN .* write it anew"),
        (["a", "b"], np.eye(2), "not numbers"),
    ],
)
def test_what_is_no_covariance_is_refused(mean, covariance, message):
    with pytest.raises(SampleError, match=message):
        as_moments(mean, covariance)


def test_rows_are_needed_for_halves():
    x, y = pair()
    with pytest.raises(SettingError, match="needs rows"):
        divmatch.frechet(stored(x), y, correction="extrapolated")


def test_rows_are_needed_for_permutations():
    x, y = pair()
    with pytest.raises(SettingError, match="holds moments and no rows"):
        divmatch.frechet(stored(x), y, permutations=9)


@pytest.mark.parametrize("keys", [("mean", "cov"), ("mu", "sigma")])
def test_file_with_moments_is_read(keys, tmp_path):
    x, _ = pair()
    np.savez(tmp_path / "m.npz", **{keys[0]: x.mean(axis=0), keys[1]: np.cov(x.T), "n": 400})
    found = read_moments(str(tmp_path / "m.npz"))
    assert (found.n, found.d) == (400, 3)


def test_file_with_rows_holds_no_moments(tmp_path):
    np.savez(tmp_path / "rows.npz", features=pair()[0])
    assert read_moments(str(tmp_path / "rows.npz")) is None


@pytest.mark.parametrize("n", [1, -3, np.nan])
def test_impossible_number_of_rows_is_refused(n, tmp_path):
    np.savez(tmp_path / "m.npz", mean=np.zeros(2), cov=np.eye(2), n=n)
    with pytest.raises(SampleError, match=r"'n' is .*, expected"):
        read_moments(str(tmp_path / "m.npz"))


def test_command_takes_moments_on_either_side(tmp_path, capsys):
    x, y = pair()
    np.save(tmp_path / "y.npy", y)
    np.savez(tmp_path / "x.npz", mean=x.mean(axis=0), cov=np.cov(x.T), n=400)
    names = [str(tmp_path / "x.npz"), str(tmp_path / "y.npy")]
    for order in (names, names[::-1]):
        assert run(["frechet", *order, "-f", "value"]) == 0
    first, second = map(float, capsys.readouterr().out.split())
    assert first == pytest.approx(second, rel=1e-12)


def test_command_refuses_what_needs_rows(tmp_path, capsys):
    np.savez(tmp_path / "x.npz", mean=np.zeros(3), cov=np.eye(3))
    name = str(tmp_path / "x.npz")
    assert run(["frechet", name, name, "--permutations", "9"]) == 2
    assert "--permutations: " in capsys.readouterr().err
