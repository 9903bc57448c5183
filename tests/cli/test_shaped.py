"""Commands whose inputs have a shape of their own: files, weights, samples, limits, outputs, refusals."""

import json

import numpy as np
import pyarrow.parquet as parquet
import pytest

import divmatch

RNG = np.random.default_rng(0)
A = RNG.normal(size=(60, 3))
B = A[:, :2] + 0.5 * RNG.normal(size=(60, 2))
LABELS = np.arange(60) % 3
MARGINS = RNG.normal(0.4, 1, size=(40, 6)), RNG.normal(size=(40, 6))
COMMANDS = {
    "align": "align a.npy b.npy",
    "prototypes": "prototypes a.npy --labels labels.npy",
    "klom": "klom unlearned.npy oracle.npy",
    "density-gap": "density-gap a.npy sds.npy",
    "tails": "tails a.npy",
}
EVERY = pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arrays = {"a": A, "b": B, "labels": LABELS, "sds": np.full((60, 3), 0.6)}
    arrays |= {"unlearned": MARGINS[0], "oracle": MARGINS[1], "weights": np.arange(60) % 4 + 1.0}
    for name, array in arrays.items():
        np.save(f"{name}.npy", array)
    names = np.array(["x", "y", "z"])[LABELS]
    lines = [
        f"{r[0]!r},{r[1]!r},{c},{w}"
        for r, c, w in zip(A.tolist(), names, arrays["weights"], strict=True)
    ]
    (tmp_path / "a.csv").write_text("\n".join(["u,v,class,weight", *lines]) + "\n")
    return tmp_path


def values(here, command):
    code, out, err = here(f"{command} -f json")
    assert code == 0, err
    return [one["value"] for one in json.loads(out)["results"]]


@EVERY
@pytest.mark.parametrize(
    "form", ["text", "value", "json", "ndjson", "csv", "markdown", "junit", "github"]
)
def test_every_format_is_written(here, files, command, form):
    code, out, _ = here(f"{command} -f {form}")
    assert code == 0
    assert out or form == "github"


@EVERY
def test_document_follows_the_schema(here, files, command):
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(
        json.loads(here(f"{command} -f json")[1]), json.loads(here("schema result")[1])
    )


@EVERY
def test_limit_decides_the_exit_code(here, files, command):
    assert [here(f"{command} {limit} -q")[0] for limit in ("--max 1e6", "--min 1e6")] == [0, 1]


@EVERY
def test_names_are_shown_in_the_list(here, command):
    assert command.split()[0] in here("list")[1]


def test_align_is_the_function(here, files):
    assert values(here, COMMANDS["align"]) == [divmatch.align(A, B).value]


def test_align_draws_the_same_rows_of_both(here, files):
    code, out, _ = here("align a.npy a.npy --sample 30 -f value")
    assert (code, float(out)) == (0, 1.0)


def test_align_takes_weights_of_its_rows(here, files):
    found = values(here, "align a.npy b.npy --weights-p weights.npy")
    assert found == [divmatch.align(A, B, weights=np.arange(60) % 4 + 1.0).value]


def test_align_of_other_rows_is_refused(here, files):
    code, _, err = here("align a.npy oracle.npy")
    assert code == 2
    assert "a.npy has 60 rows, oracle.npy has 40" in err


def test_density_gap_gives_three_numbers_that_add_up(here, files):
    gap, kl, information = values(here, COMMANDS["density-gap"])
    assert kl == pytest.approx(gap + information, abs=1e-12)


def test_density_gap_of_other_columns_is_refused(here, files):
    code, _, err = here("density-gap a.npy b.npy")
    assert code == 2
    assert "expected one number for each" in err


def test_prototypes_take_a_column_of_words(here, files):
    found = values(here, "prototypes a.csv --labels class --weights weight --scale none")
    expected = divmatch.prototypes(A[:, :2], LABELS, weights=np.arange(60) % 4 + 1.0).value
    assert found == pytest.approx([expected], abs=1e-12)


def test_prototypes_sample_rows_with_their_labels(here, files):
    one = values(here, "prototypes a.csv --labels class --columns u,v --sample 40 --scale none")
    other = values(here, "prototypes a.npy --columns 0,1 --labels labels.npy --sample 40")
    assert one == pytest.approx(other, abs=1e-12)


def test_prototypes_of_others(here, files):
    found = values(
        here, "prototypes a.npy --labels labels.npy --others a.npy --others-labels labels.npy"
    )
    assert found == [divmatch.prototypes(A, LABELS, A, LABELS).value]


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("--labels oracle.npy", "several columns"),
        ("--labels weight", "column 'weight' not found"),
        ("--labels labels.npy --others-labels x", "only with --others"),
        ("--labels labels.npy --kl-scale", "give --others"),
    ],
)
def test_prototypes_refuse_what_has_no_meaning(here, files, rest, message):
    code, _, err = here(f"prototypes a.npy {rest}")
    assert code == 2
    assert message in err


def test_klom_shows_the_baseline_and_writes_every_point(here, files):
    code, out, _ = here("klom unlearned.npy oracle.npy -o rows.parquet")
    table = parquet.read_table("rows.parquet")
    assert code == 0
    assert out.count("null baseline") == 2
    assert table.column_names == ["point", "klom"]
    expected = divmatch.klom(*MARGINS).value
    assert np.mean(table["klom"].to_numpy()) == pytest.approx(expected, abs=1e-12)


def test_klom_with_other_points_is_refused(here, files):
    code, _, err = here("klom unlearned.npy a.npy")
    assert code == 2
    assert "unlearned.npy has 6 columns, a.npy has 3" in err


def test_tails_say_their_word(here, files):
    assert "tail=" in here("tails a.npy --kind radius")[1]


def test_too_few_rows_are_inconclusive(here, files):
    assert here("tails a.npy --sample 10")[0] == 3


def test_missing_values_are_met_with_what_the_command_offers(here, files):
    holes = A.copy()
    holes[3, 1] = np.nan
    np.save("holes.npy", holes)
    told = [
        here(f"{line} holes.npy")[2].rpartition("; ")[2].strip()
        for line in ("tails", "energy a.npy")
    ]
    assert told == ["choose --na drop", "choose --na drop or --na mean"]
    assert "--na" not in here("align a.npy holes.npy")[2]


def test_settings_that_are_off_and_rounding_are_not_printed(here, files):
    printed = here("align a.npy a.npy")[1]
    assert "above_chance=1 " in printed
    assert "corrected" not in printed


def test_a_warning_of_two_numbers_is_said_once(here, files):
    assert here("tails a.npy --kind radius,direction")[2].count("W62") == 1


def test_the_method_with_less_bias_is_not_advised_to_itself(here, files):
    errors = here("klom oracle.npy oracle.npy --method knn")[2]
    assert ("W65" in errors, "--method knn" in errors) == (True, False)


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (
            "density-gap a.npy wrong.npy",
            "wrong.npy: the sd at row 0 (from 0), column 0, is 0, expected",
        ),
        ("align a.npy wrong.npy", "wrong.npy: row 0 (from 0) is 0 in all columns"),
    ],
)
def test_the_file_that_is_wrong_is_named(here, files, command, says):
    np.save("wrong.npy", np.r_[[[0.0, 0, 0]], np.ones((59, 3))])
    code, _, errors = here(command)
    assert (code, says in errors) == (2, True)


@pytest.mark.parametrize(
    "command",
    ["align same.npy b.npy --method cka", "align a.npy same.npy --method cka --metric euclidean"]
    + [f"tails same.npy --kind {kind}" for kind in ("radius", "direction", "hill")],
)
def test_rounding_of_equal_rows_is_no_number(here, files, command):
    np.save("same.npy", np.tile([0.1, 0.7, 1.3], (60, 1)))
    code, printed, _ = here(f"{command} -f value")
    assert (code, printed) == (3, "undefined\n")
