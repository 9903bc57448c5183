"""`divmatch memorisation`: three files in, a table and a sentence out, limits and formats."""

import json

import jsonschema
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv

import divmatch
from tests.tolerances import ROUNDING

LINE = "memorisation m-test.npy {} --train m-train.npy"
MEMORY, HONEST = LINE.format("m-copy.npy"), LINE.format("m-new.npy")


@pytest.fixture(scope="module", autouse=True)
def samples(data):
    """Training, test, memorised and new rows."""
    rng = np.random.default_rng(6)
    rows = {"train": rng.normal(size=(100, 4)), "test": rng.normal(size=(100, 4))}
    rows |= {"copy": rows["train"][rng.integers(0, 100, 600)], "new": rng.normal(size=(600, 4))}
    for name, block in rows.items():
        np.save(data / f"m-{name}.npy", block)
        table = pa.table({letter: block[:, k] for k, letter in enumerate("abcd")})
        csv.write_csv(
            table.append_column("w", pa.array(np.ones(len(block)))), data / f"m-{name}.csv"
        )
    return rows


def test_memorised_rows_in_words(here):
    code, printed, errors = here(MEMORY)
    lines = printed.splitlines()
    assert code == 0
    assert [line.split("  ")[0] for line in lines[1:6]] == [
        "D(gen, train)",
        "D(gen, test)",
        "D(train, test)",
        "gap",
        "ratio",
    ]
    assert lines[-1] == (
        "memorised: m-copy.npy is nearer to m-train.npy than to m-test.npy (p = 0.005, 199 permutations)"
    )
    assert "warning[W30]: m-copy.npy is nearer" in errors


def test_new_rows_in_words(here):
    code, printed, errors = here(HONEST)
    assert (code, "W30" in errors) == (0, False)
    assert printed.splitlines()[-1].startswith(
        "no memorisation seen: m-new.npy is not clearly nearer"
    )


def test_numbers_are_those_of_the_function(here, samples):
    found = json.loads(here(f"{MEMORY} -f json")[1])["results"]
    expected = divmatch.memorisation(samples["test"], samples["copy"], samples["train"]).results
    values = [one["value"] for one in found]
    assert values == pytest.approx([one.value for one in expected], abs=ROUNDING(600))
    assert found[3]["test"]["p_value"] == expected[3].test.p_value


def test_json_follows_the_schema(here):
    found = json.loads(here(f"{MEMORY} -f json --no-run")[1])
    jsonschema.validate(found, json.loads(here("schema result")[1]))
    assert [one["role"] for one in found["inputs"]] == ["p", "q", "train"]
    assert [one["id"] for one in found["results"]] == [
        "energy:gen-train",
        "energy:gen-test",
        "energy:train-test",
        "memorisation:gap",
        "memorisation:ratio",
    ]
    assert found["settings"]["memorised"] is True


@pytest.mark.parametrize("form", ["value", "ndjson", "csv", "tsv", "markdown", "junit", "github"])
def test_every_format_is_written(here, form):
    code, printed, _ = here(f"{MEMORY} -f {form} --max 1.1 --exit-zero")
    assert code == 0
    assert printed or form == "github"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (f"{MEMORY} --alpha 0.01", 1),
        (f"{HONEST} --alpha 0.01", 0),
        (f"{MEMORY} --max 3 --decide point", 1),
        (f"{HONEST} --max 3 --decide point", 0),
        (f"{MEMORY} --alpha 0.01 -B 9", 2),
        (f"{MEMORY} --statistic energi", 2),
        (f"{MEMORY} --strict", 2),
        ("memorisation m-test.npy m-copy.npy --train narrow.npy", 2),
        ("memorisation m-test.npy m-copy.npy", 2),
        ("memorisation constant.npy constant.npy --train constant.npy --statistic mmd", 3),
    ],
)
def test_exit_codes(here, line, code):
    assert here(line)[0] == code


def test_near_a_statistic_is_suggested(here):
    assert "did you mean 'energy'" in here(f"{MEMORY} --statistic energi")[2]


def test_the_critic_can_be_chosen(here):
    code, printed, _ = here(f"{HONEST} --statistic c2st:mode=wgan -B 0 -q")
    assert code == 0
    assert printed.startswith("neural-network divergence (wgan), method network")


def test_tables_share_columns_and_weights(here):
    plain = here("memorisation m-test.csv m-copy.csv --train m-train.csv --columns a,b,c,d -q")
    weighted = here("memorisation m-test.csv m-copy.csv --train m-train.csv --weights w -q")
    assert plain[0] == 0
    assert plain[1] == weighted[1]


def test_sampled_rows_are_drawn_for_each_file(here):
    found = json.loads(here(f"{MEMORY} --sample 50 -f json -q")[1])
    assert [one["rows_used"] for one in found["inputs"]] == [50, 50, 50]


def test_output_never_replaces_the_training_rows(here):
    line = "memorisation m-test.csv m-copy.csv --train m-train.csv -o m-train.csv"
    code, _, errors = here(line)
    assert (code, "is the input m-train.csv" in errors) == (2, True)


def test_a_ratio_to_rounding_is_infinite():
    rng = np.random.default_rng(6)
    train, test = rng.normal(size=(2, 300, 4))
    copies = (train[rng.permutation(300)] for _ in range(50))
    copy = next(c for c in copies if divmatch.energy(c, train, method="v").value > 0)
    found = divmatch.memorisation(test, copy, train, permutations=19).ratio
    assert (found.value, found.ci) == (np.inf, None)
    assert "W02" in {note.code for note in found.warnings}
