"""Commands on one file: files beside it, groups of columns, what cannot be combined."""

import json

import jsonschema
import numpy as np
import pytest


@pytest.fixture(scope="module")
def scored(data):
    rows = np.load(data / "p.npy")
    np.save(data / "scores.npy", -rows)
    np.save(data / "short.npy", -rows[:10])
    np.save(data / "narrow-scores.npy", -rows[:, 0])
    holes = -rows
    holes[3, 1] = np.nan
    np.save(data / "holes.npy", holes)
    return data


def value(here, line):
    code, printed, errors = here(f"{line} -f value -q")
    assert code == 0, errors
    return float(printed)


def test_ksd_of_scores_is_that_of_the_target(here, scored):
    found = value(here, "ksd p.npy --scores scores.npy")
    assert found == value(here, "ksd p.npy --target gaussian:0,1")


def test_scores_of_a_table_are_found_by_name(here, scored):
    import pyarrow as pa
    from pyarrow import parquet

    rows = np.load(scored / "p.npy")
    table = pa.table({letter: -rows[:, k] for k, letter in reversed(list(enumerate("abcd")))})
    parquet.write_table(table, scored / "scores.parquet")
    found = value(here, "ksd p.parquet --columns !mass --scores scores.parquet")
    assert found == value(here, "ksd p.npy --target gaussian:0,1")


def test_sampled_rows_keep_their_scores(here, scored):
    found = value(here, "ksd p.npy --scores scores.npy --sample 50")
    assert found == value(here, "ksd p.npy --target gaussian:0,1 --sample 50")


def test_weights_count(here, scored):
    found = value(here, "ksd p.parquet --weights mass --scores scores.npy")
    assert found == value(here, "ksd p.parquet --weights mass --target gaussian:0,1")
    assert found != value(here, "ksd p.npy --target gaussian:0,1")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ksd p.npy", "give --scores FILE or --target NAME, neither is given"),
        ("ksd p.npy --scores short.npy", "short.npy: has 10 rows, p.npy has 500"),
        ("ksd p.npy --scores narrow-scores.npy", "p.npy has 4 columns, narrow-scores.npy has 1"),
        ("ksd p.npy --scores holes.npy", "holes.npy: NaN or infinite at row 3"),
        ("ksd p.npy --scores none.npy", "none.npy: no such file"),
        ("ksd p.npy --target gaussian:0", "expected gaussian:MEAN,COV"),
        ("ksd p.npy --scale none", "no such option '--scale'"),
        ("ksd p.npy q.npy", "unexpected extra argument"),
        ("dcor p.npy", "give --x and --y, p.npy has 4 columns"),
        ("dcor p.parquet --x a --y bb", "column 'bb' not found"),
        ("dcor p.npy --x 0 --scale ref-whiten", "'ref-whiten' is not one of"),
        ("mi p.npy", "give --x and --y, p.npy has 4 columns"),
        ("mi p.npy --x 0 --method wasserstein --unit bits", "is not measured in nats"),
        ("mi p.npy --x 0 --references 1", "--references 1: expected a whole number at least 2"),
        ("score p.npy q.npy --metrics dcor", "looks at one sample"),
        ("test p.npy q.npy --statistic ksd", "looks at one sample"),
    ],
)
def test_mistake_is_one_line(here, scored, line, message):
    code, printed, errors = here(line)
    assert (code, printed) == (2, "")
    assert message in errors
    assert errors.count("\n") == 1


def test_columns_are_groups_of_their_names(here, scored):
    found = value(here, "dcor p.parquet --x a --y b --y c --scale none")
    assert found == value(here, "dcor p.npy --x 0 --y 1,2")


def test_mutual_information_is_in_nats_or_bits(here, scored):
    nats = value(here, "mi p.npy --x 0 --y 1")
    assert value(here, "mi p.npy --x 0 --y 1 --unit bits") == pytest.approx(nats / np.log(2))


def test_other_dependences_have_names_and_units_of_their_own(here, scored):
    printed = here("mi p.npy --x 0 --y 1 --method wasserstein-gaussian -q")[1]
    assert printed.startswith("Gaussian Wasserstein dependence(p.npy)")
    found = json.loads(here("mi p.npy --x 0 --y 1 --references 2 -q -f json")[1])["results"][0]
    assert (found["method"], found["unit"]) == ("wasserstein", "data unit")


def test_several_kinds_are_several_results(here, scored):
    printed = here("dcor p.npy --x 0 --y 1 --kind correlation,covariance -f value -q")[1]
    assert len(printed.splitlines()) == 2


@pytest.mark.parametrize(
    "line",
    [
        "ksd p.npy --target gaussian:0,1 -B 9",
        "dcor p.npy --x 0 --max 1",
        "dcor p.npy --x 0 -B 9",
        "mi p.npy --x 0 --y 1 -B 9",
    ],
)
def test_json_follows_the_schema(here, scored, line):
    schema = json.loads(here("schema result")[1])
    found = json.loads(here(f"{line} -f json -q")[1])
    jsonschema.Draft202012Validator(schema).validate(found)
    assert [one["role"] for one in found["inputs"]] == ["p"]


@pytest.mark.parametrize("form", ["text", "csv", "tsv", "ndjson", "markdown", "junit", "github"])
def test_every_format_is_written(here, scored, form):
    code, printed, _ = here(f"dcor p.npy --x 0 --max 1 -q -f {form}")
    assert (code, bool(printed)) == (0, True)


def test_limit_fails(here, scored):
    assert here("ksd p.npy --target gaussian:3,1 --max 0.01 -q")[0] == 1


def test_text_says_where_the_p_value_comes_from(here, scored):
    assert "(9 wild bootstrap draws)" in here("ksd p.npy --target gaussian:0,1 -B 9 -q")[1]
    assert "(9 permutations)" in here("dcor p.npy --x 0 -B 9 -q")[1]
    assert "(chi-square)" in here("dcor p.npy --x 0 -q")[1]


def test_output_never_replaces_the_scores(here, scored):
    (scored / "scores.csv").write_text("a\n1\n")
    code, _, errors = here("ksd p.npy --scores scores.csv -o scores.csv")
    assert (code, "is the input" in errors) == (2, True)


def test_best_of_n_tells_the_number_of_prompts_once(here, data):
    np.save(data / "eps.npy", np.linspace(0.1, 0.5, 20))
    code, out, _ = here("best-of-n eps.npy -n 4")
    assert code == 0
    assert "n = 20   " in out


@pytest.mark.parametrize("command", ["dcor", "mi"])
def test_columns_that_no_group_names_may_hold_anything(here, data, command):
    rows = np.load(data / "p.npy")
    lines = [f"{row[0]!r},{row[1]!r},,x{k}" for k, row in enumerate(rows.tolist())]
    (data / "beside.csv").write_text("\n".join(["a,b,gap,text", *lines]) + "\n")
    found = value(here, f"{command} beside.csv --x a --y b")
    assert found == value(here, f"{command} p.csv --x a --y b --columns a,b")
    assert "did you mean 'gap'" in here(f"{command} beside.csv --x a --y gapp")[2]
