"""The record: what scripts may rely on."""

import json
import math
from dataclasses import FrozenInstanceError, fields

import pytest

from divmatch import __version__
from divmatch.record import SCHEMA, Interval, Note, Result, Test, document, finite


def result(**changes):
    made = {
        "metric": "kl",
        "method": "knn",
        "value": 0.5,
        "unit": "nats",
        "direction": "P||Q",
        "n": (10, 20),
        "d": 2,
    }
    return Result(**(made | changes))


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1.5, 1.5), (0, 0.0), (None, None), (math.inf, None), (-math.inf, None), (math.nan, None)],
)
def test_undefined_numbers_become_null(value, expected):
    assert finite(value) == expected


def test_names_of_the_fields_are_those_of_the_schema():
    assert list(result().as_dict()) == [
        "id", "metric", "method", "params", "direction", "value", "unit", "better", "se", "ci",
        "bias", "error", "test", "n", "exact", "status", "warnings",
    ]  # fmt: skip


def test_identity_defaults_to_the_metric():
    assert result().as_dict()["id"] == "kl"


def test_name_of_the_sample_is_there_where_known():
    assert result(sample="gen.npy").as_dict()["sample"] == "gen.npy"


def test_interval_is_written_out():
    made = result(ci=Interval(0.9, 0.1, math.inf, "influence", 0)).as_dict()["ci"]
    assert made == {"level": 0.9, "low": 0.1, "high": None, "method": "influence", "resamples": 0}


def test_test_is_written_out():
    made = result(test=Test(0.02, "permutation", 99, {"mean": 1.0, "sd": math.nan})).as_dict()[
        "test"
    ]
    assert made == {
        "p_value": 0.02,
        "p_adjusted": None,
        "method": "permutation",
        "permutations": 99,
        "null": {"mean": 1.0, "sd": None},
    }


def test_warnings_are_code_and_message():
    made = result(warnings=(Note("W03", "tied"),)).as_dict()["warnings"]
    assert made == [{"code": "W03", "message": "tied"}]


def test_infinite_everything_is_valid_json():
    made = result(
        value=math.inf,
        se=math.nan,
        error={"monte_carlo_se": math.inf},
        params={"bandwidth": math.inf, "kernel": "gaussian"},
    ).as_dict()
    assert json.loads(json.dumps(made, allow_nan=False))["value"] is None


def test_extra_fields_follow():
    assert result(extra={"rank": 1}).as_dict()["rank"] == 1


@pytest.mark.parametrize("kind", [Note, Interval, Test, Result])
def test_records_are_frozen(kind):
    made = kind(*[None] * len(fields(kind)))
    with pytest.raises(FrozenInstanceError):
        setattr(made, fields(kind)[0].name, 1)


def test_document_says_who_wrote_it():
    made = document("kl", [], {"seed": 0}, [result().as_dict()])
    assert (made["schema"], made["tool"]) == (SCHEMA, {"name": "divmatch", "version": __version__})


def test_document_without_verdict_and_run_has_neither():
    assert list(document("kl", [], {}, [])) == [
        "schema",
        "tool",
        "command",
        "inputs",
        "settings",
        "results",
    ]


def test_document_with_verdict_and_run_ends_with_them():
    made = document("kl", [], {}, [], verdict={"pass": True}, run={"threads": 1})
    assert (made["verdict"], made["run"]) == ({"pass": True}, {"threads": 1})
