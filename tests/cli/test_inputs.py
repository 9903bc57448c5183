"""Every kind of input, end to end: the same rows give the same number."""

import numpy as np
import pytest


def value(here, line, name="energy"):
    code, printed, errors = here(f"{name} {line} -f value -q")
    assert (code, errors) == (0, "")
    return float(printed)


@pytest.mark.parametrize(
    "pair",
    [
        "both.npz::p both.npz::q",
        "p.parquet q.parquet",
        "p.csv q.csv",
        "p.ndjson q.ndjson",
        "parts-p parts-q",
        "parts-p/*.parquet parts-q/*.parquet",
        "p.parquet q.csv",
    ],
)
def test_the_same_rows_from_any_kind_of_file(here, pair):
    line = pair if "npz" in pair else f"{pair} --columns a,b,c,d --scale none"
    assert value(here, line) == value(here, "p.npy q.npy")


@pytest.mark.parametrize("name", ["q.npy", "q.parquet", "q.csv", "q.ndjson", "both.npz"])
def test_standard_input_is_sniffed(run, name):
    reference = "p.npy" if name.endswith((".npy", ".npz")) else "p.parquet"
    single = f"{name}::q" if name == "both.npz" else name
    piped = f"-{single.removeprefix(name)}"
    rest = f"-f value --scale none {'' if reference == 'p.npy' else '--columns a,b'}"
    found = run(shell=f"divmatch energy {rest} -- {reference} {piped} < {name}")
    expected = run(shell=f"divmatch energy {rest} {reference} {single}")
    assert found.stdout == expected.stdout != ""


def test_a_pipe_stands_for_a_file(run):
    found = run(shell="divmatch energy <(cat p.npy) <(cat q.npy) -f value")
    assert found.stdout == run("energy", "p.npy", "q.npy", "-f", "value").stdout != ""


@pytest.mark.parametrize(
    "line", ["- < q.npy", "/dev/stdin < q.npy", "/dev/fd/5 5< q.npy", "/dev/stdin < <(cat q.npy)"]
)
def test_any_name_of_a_stream_stands_for_it(run, line):
    found = run(shell=f"divmatch energy -f value p.npy {line}")
    assert found.stdout == run("energy", "p.npy", "q.npy", "-f", "value").stdout != ""


def test_columns_by_name_position_pattern_and_exclusion(here):
    lists = ("a,b", "!c,!d,!mass", "a,b,!mass")
    found = {value(here, f"p.parquet q.parquet --scale none --columns {names}") for names in lists}
    assert found == {value(here, f"p.npy q.npy --columns {places}") for places in ("0,1", "0-1")}


def test_one_column_is_a_line(here):
    assert value(here, "line-p.npy line-q.npy") == value(here, "p.npy q.npy --columns 0")


def test_weights_from_a_column_and_from_a_file_agree(here):
    column = value(here, "p.parquet q.parquet --scale none --weights mass")
    files = value(here, "p.npy q.npy --weights-p mass.npy --weights-q mass.npy")
    assert column == files != value(here, "p.npy q.npy")


def test_whole_weights_repeat_rows(here, data):
    times = np.random.default_rng(0).integers(1, 4, size=500)
    np.save(data / "times.npy", times)
    np.save(data / "repeated.npy", np.repeat(np.load(data / "p.npy"), times, axis=0))
    weighted = value(here, "p.npy q.npy --method v --weights-p times.npy")
    assert np.isclose(weighted, value(here, "repeated.npy q.npy --method v"), rtol=1e-10)


def test_a_sample_is_drawn_only_on_request_and_by_the_seed(here):
    whole, part = value(here, "p.npy q.npy"), value(here, "p.npy q.npy --sample 100")
    assert part != whole
    assert part == value(here, "p.npy q.npy --sample 20%")
    assert part != value(here, "p.npy q.npy --sample 100 --seed 1")
    assert whole == value(here, "p.npy q.npy --sample 500")


def test_missing_values_are_refused_until_told_what_to_do(here, data):
    block = np.load(data / "q.npy")
    block[7, 2] = np.nan
    np.save(data / "gap.npy", block)
    np.save(data / "without.npy", np.delete(block, 7, axis=0))
    code, printed, errors = here("energy p.npy gap.npy")
    assert (code, printed, "row 7" in errors) == (2, "", True)
    assert value(here, "p.npy gap.npy --na drop") == value(here, "p.npy without.npy")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("energy - -", "only once"),
        ("energy - /dev/stdin", "only once"),
        ("score p.npy - -", "only once"),
        ("score p.npy - /dev/stdin", "only once"),
        ("energy -p.npy q.npy", "come after --"),
        ("energy p.npy narrow.npy", "has 4 columns, narrow.npy has 3"),
        ("energy p.npy both.npz", "holds 2 arrays"),
        ("energy p.npy both.npz::r", "no array 'r'"),
        ("energy p.npy q.npy --columns ,", "--columns: names no column"),
        ("energy p.npy q.npy --columns 9", "column '9' not found"),
        ("energy p.npy q.npy --sample 0", "above 0"),
        ("energy p.npy q.npy --sample nan%", "above 0"),
        ("energy p.npy q.npy --max nan", "is not a finite number"),
        ("energy p.npy q.npy --max inf", "is not a finite number"),
        ("energy p.npy q.npy --min -inf", "is not a finite number"),
        ("energy p.npy q.npy --min 5 --max 1", "--min 5 is above --max 1"),
        ("energy p.npy q.npy -o y.json -o ./y.json", "named twice"),
        ("score p.npy q.npy -0", "-0: ends the names in --files-from"),
        ("energy p.npy q.npy --permutations -1", "not in the range"),
        ("energy p.npy q.npy --permutations 1e3", "not a valid whole number"),
        ("energy p.npy q.npy --level 1", "not in the range"),
        ("energy p.npy q.npy --level 0.9999999999999999", "not in the range"),
        ("energy p.npy q.npy --threads 0", "not in the range"),
        ("energy p.npy q.npy --seed -1", "whole number"),
        (f"energy p.npy q.npy --seed {'9' * 5000}", "at most 19 digits"),
        ("kl p.npy q.npy -k 0", "at least 1"),
        ("mmd p.npy q.npy --bandwidth 1e-300", "out of proportion to the rows"),
        ("mmd p.npy q.npy --bandwidth 1e60 --kernel imq", "out of proportion to the rows"),
        ("test p.npy q.npy --permutations 0", "at least 19 to reject at the 5% level"),
        ("test p.npy q.npy --permutations 19 --alpha 0.01", "at least 99"),
        ("energy p.npy q.npy --max-memory nan", "expected a size"),
        ("energy p.npy q.npy --weights-p broken.npy", "broken.npy"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(here, line, says):
    code, printed, errors = here(line)
    assert (code, printed, errors.count("\n")) == (2, "", 1)
    assert says in errors
