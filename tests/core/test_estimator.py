"""The declaration: registry, checked settings, metrics as text."""

import pytest

from divmatch.errors import SettingError
from divmatch.estimator import Quantity, parse_metric, quantity


def test_quantity_is_found_by_name():
    assert quantity("energy").name == "energy"


def test_quantity_is_declared_once():
    assert quantity("mmd") is quantity("mmd")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("enrgy", "no quantity is called 'enrgy'; did you mean 'energy'?"),
        ("xyzzy", "no quantity is called 'xyzzy' (known: kl, renyi, fdiv"),
        ("", "no quantity is called ''"),
    ],
)
def test_unknown_quantity_is_refused(name, message):
    with pytest.raises(SettingError) as caught:
        quantity(name)
    assert str(caught.value).startswith(message)


def test_name_of_a_quantity_is_taken_once():
    quantity("energy")
    with pytest.raises(ValueError, match="two quantities are called energy"):
        Quantity("energy", "", "", "symmetric", "u", ())


def test_unknown_method_is_refused():
    with pytest.raises(SettingError) as caught:
        quantity("energy").chosen("w")
    assert str(caught.value) == "energy --method w: expected one of u, v"


def test_near_method_is_suggested():
    with pytest.raises(SettingError, match="did you mean 'gaussian'"):
        quantity("kl").chosen("gausian")


def test_methods_stand_in_one_order_whatever_was_imported_first():
    assert list(quantity("kl").methods)[:4] == ["auto", "gaussian", "knn", "knn-reduced"]


def test_method_defaults_to_the_declared_one():
    assert quantity("kl").chosen(None).method == "auto"


def test_settings_of_all_methods_are_listed_once():
    assert list(quantity("kl").settings())[:5] == ["invariant", "correction", "k", "ties", "max_k"]


def test_checked_settings_fill_in_defaults():
    expected = {"k": 3, "ties": "error", "invariant": None}
    assert quantity("kl").chosen("knn").checked({"k": "3"}) == expected


def test_unit_without_its_power():
    assert quantity("energy").unit_of({"power": 1.0}) == "data unit"


def test_unit_with_its_power():
    assert quantity("energy").unit_of({"power": 1.5}) == "data unit^1.5"


@pytest.mark.parametrize(
    ("text", "method", "expected"),
    [
        ("energy", "u", {"power": 1.0, "invariant": None}),
        ("energy:power=1.5", "u", {"power": 1.5, "invariant": None}),
        (" energy : power = 1.5 ", "u", {"power": 1.5, "invariant": None}),
        ("energy:method=v", "v", {"power": 1.0, "invariant": None}),
        ("kl:k=3,ties=drop", "knn", {"k": 3, "ties": "drop", "invariant": None}),
        (
            "kl:method=knn-reduced,max-k=7",
            "knn-reduced",
            {"ties": "error", "max_k": 7, "invariant": None},
        ),
        ("kl:method=gaussian", "gaussian", {"correction": "auto"}),
        (
            "mmd:kernel=rbf",
            "u",
            {"kernel": "gaussian", "bandwidth": "reference", "invariant": None},
        ),
        ("mmd:bandwidth=2", "u", {"kernel": "gaussian", "bandwidth": 2.0, "invariant": None}),
    ],
)
def test_metric_is_read(text, method, expected):
    chosen, settings = parse_metric(text)
    assert (chosen.method, settings) == (method, expected)


def test_metric_outside_scoring_takes_the_plain_defaults():
    assert parse_metric("mmd", scoring=False)[1]["bandwidth"] == "median"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("enrgy:power=1", "no quantity is called 'enrgy'; did you mean 'energy'?"),
        ("energy:pwer=1", "energy --method u has no setting 'pwer'; did you mean 'power'?"),
        ("energy:power", "metric 'energy:power': expected key=value, not 'power'"),
        ("energy:power=", "--power : expected a number above 0, below 2"),
        ("energy:power=3", "--power 3.0: expected a number above 0, below 2"),
        ("energy:method=w", "energy --method w: expected one of u, v"),
        ("kl:method=gaussian,k=3", "kl --method gaussian has no setting 'k'"),
        ("mmd:kernel=gausian", "--kernel gausian: expected gaussian or laplace or imq or matern or rq or riesz:R or poly or mix; did you mean 'gaussian'?"),
        ("kl:rng=1", "kl --method auto has no setting 'rng'"),
    ],
)  # fmt: skip
def test_mistaken_metric_says_what_was_meant(text, message):
    with pytest.raises(SettingError) as caught:
        parse_metric(text)
    assert str(caught.value).startswith(message)


def test_setting_given_twice_is_refused():
    with pytest.raises(SettingError, match="power"):
        parse_metric("energy:power=1,power=1.5")
