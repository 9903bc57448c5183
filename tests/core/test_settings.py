"""Settings: text and Python values in, checked values out, or one line that says what is allowed."""

from typing import Annotated, Literal

import numpy as np
import pytest

from divmatch.errors import SettingError
from divmatch.settings import Setting, settings_of


def function(
    *,
    k: Annotated[int, Setting("neighbour", least=1, most=9)] = 5,
    power: Annotated[float, Setting("power", above=0, below=2)] = 1.0,
    bandwidth: Annotated[float | Literal["median"], Setting("scale", above=0)] = "median",
    kernel: Annotated[
        Literal["gaussian", "laplace"], Setting("", aliases={"rbf": "gaussian"})
    ] = "gaussian",
    order: Annotated[Literal[1, 2], Setting("order")] = 2,
    share: Annotated[float | None, Setting("share", above=0, below=1, percent=True)] = None,
    max_rows: Annotated[int | Literal["all"], Setting("rows")] = "all",
    exact: Annotated[bool, Setting("flag")] = False,
    rng: np.random.Generator | None = None,
):
    """Hold one setting of every kind."""


KNOBS = {setting.name: setting for setting in settings_of(function)}


def test_every_keyword_but_the_generator_is_a_setting():
    assert list(KNOBS) == [
        "k", "power", "bandwidth", "kernel", "order", "share", "max_rows", "exact"
    ]  # fmt: skip


def test_default_comes_from_the_signature():
    assert KNOBS["power"].default == 1.0


def test_parameter_without_a_setting_is_a_programming_error():
    def bare(*, k: int = 1):
        pass

    with pytest.raises(TypeError, match="parameter k lacks a Setting"):
        settings_of(bare)


@pytest.mark.parametrize(
    ("name", "given", "wanted"),
    [
        ("k", "3", 3),
        ("k", 3, 3),
        ("k", 3.0, 3),
        ("k", np.int64(3), 3),
        ("k", "9", 9),
        ("k", "1", 1),
        ("power", "1.5", 1.5),
        ("power", 1, 1.0),
        ("power", "1e-3", 1e-3),
        ("power", np.float32(0.5), 0.5),
        ("bandwidth", "median", "median"),
        ("bandwidth", "2.5", 2.5),
        ("kernel", "laplace", "laplace"),
        ("kernel", "rbf", "gaussian"),
        ("order", "1", 1),
        ("order", 2, 2),
        ("share", None, None),
        ("share", "1%", 0.01),
        ("share", "0.5", 0.5),
        ("max_rows", "all", "all"),
        ("max_rows", "12", 12),
        ("exact", "true", True),
        ("exact", False, False),
        ("exact", "FALSE", False),
    ],
)
def test_value_is_taken(name, given, wanted):
    found = KNOBS[name].check(given)
    assert (type(found), found) == (type(wanted), wanted)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("k", 0),
        ("k", 10),
        ("k", "-3"),
        ("k", 2.5),
        ("k", "2.5"),
        ("k", "three"),
        ("k", ""),
        ("k", None),
        ("k", True),
        ("k", [1]),
        ("k", float("nan")),
        ("k", float("inf")),
        ("power", 0),
        ("power", 2),
        ("power", "nan"),
        ("power", "inf"),
        ("power", "1%"),
        ("power", True),
        ("power", None),
        ("bandwidth", 0),
        ("bandwidth", "medain"),
        ("bandwidth", float("inf")),
        ("bandwidth", np.array([1.0, 2.0])),
        ("kernel", "rfb"),
        ("kernel", 1),
        ("kernel", None),
        ("order", 3),
        ("order", "1.5"),
        ("order", True),
        ("share", "0%"),
        ("share", "100%"),
        ("share", "%"),
        ("share", "nan%"),
        ("max_rows", "1.5"),
        ("exact", "maybe"),
        ("exact", 2),
    ],
)
def test_mistake_is_a_setting_error(name, given):
    with pytest.raises(SettingError, match="expected "):
        KNOBS[name].check(given)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("k", 0, "-k 0: expected a whole number at least 1, at most 9"),
        ("power", "x", "--power x: expected a number above 0, below 2"),
        ("bandwidth", "medain", "--bandwidth medain: expected median or a number above 0; did you mean 'median'?"),
        ("kernel", "lapalce", "--kernel lapalce: expected gaussian or laplace; did you mean 'laplace'?"),
        ("order", 5, "--order 5: expected 1 or 2"),
        ("max_rows", "many", "--max-rows many: expected all or a whole number"),
        ("exact", "maybe", "--exact maybe: expected true or false"),
    ],
)  # fmt: skip
def test_mistake_says_what_is_allowed(name, given, message):
    with pytest.raises(SettingError) as caught:
        KNOBS[name].check(given)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("name", "metavar"),
    [("k", "N"), ("power", "X"), ("bandwidth", "median|X"), ("share", "1%"), ("max_rows", "all|N"), ("order", "1|2")],
)  # fmt: skip
def test_metavar_shows_what_may_stand_there(name, metavar):
    assert KNOBS[name].metavar == metavar
