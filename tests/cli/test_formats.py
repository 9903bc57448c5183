"""Every format of every command: what is printed, what is written, and that others can read it."""

import csv
import io
import json
import math
from xml.etree import ElementTree

import jsonschema
import pytest
from pyarrow import parquet

from divmatch.catalogue import QUANTITIES
from divmatch.cli.options import FORMATS
from divmatch.cli.render import SUFFIXES

COMMANDS = {
    **{name: f"{name} p.npy q.npy" for name in QUANTITIES},
    "test": "test p.npy q.npy --permutations 19",
    "score": "score p.npy q.npy near.npy --metrics energy,mmd:bandwidth=2",
}
EVERY_COMMAND = pytest.mark.parametrize("line", COMMANDS.values(), ids=COMMANDS)


def table(text, delimiter=","):
    return list(csv.DictReader(io.StringIO(text), delimiter=delimiter))


@pytest.fixture(scope="session")
def schema():
    from importlib.resources import files

    return jsonschema.Draft202012Validator(
        json.loads(files("divmatch").joinpath("result.schema.json").read_text())
    )


@EVERY_COMMAND
@pytest.mark.parametrize("extra", ["", " --max 0.01 --min -5 --inconclusive pass --no-run"])
def test_json_follows_the_schema_and_has_no_nan(here, schema, line, extra):
    document = json.loads(here(f"{line} -q -f json{extra}")[1], parse_constant=pytest.fail)
    schema.validate(document)
    assert ("run" in document) == (extra == "")
    assert ("verdict" in document) == (extra != "")


def test_json_of_a_score_with_a_bad_file_follows_the_schema(here, schema):
    code, printed, _ = here("score p.npy broken.npy near.npy -f json -q")
    document = json.loads(printed, parse_constant=pytest.fail)
    schema.validate(document)
    assert (code, document["results"][0]["status"]) == (2, "error")


@EVERY_COMMAND
def test_every_format_shows_the_numbers_of_the_json(here, line):
    shown = {form: here(f"{line} -q --no-run -f {form}")[1] for form in FORMATS}
    results = json.loads(shown["json"])["results"]
    values = [result["value"] for result in results]
    assert [float(text) for text in shown["value"].splitlines()] == values
    for result in results:
        result.pop(
            "group", None
        )  # known with the last set, when rows of `score` are printed already
    assert [json.loads(row) for row in shown["ndjson"].splitlines()] == results
    assert [float(row["value"]) for row in table(shown["csv"])] == values
    assert [float(row["value"]) for row in table(shown["tsv"], "\t")] == values
    for value in values:
        assert f"{value:.4g}" in shown["text"]
        assert f"{value:.4g}" in shown["markdown"]
    assert len(ElementTree.fromstring(shown["junit"]).findall(".//testcase")) == len(values)


@EVERY_COMMAND
def test_every_suffix_is_written_and_reads_back(here, tmp_path, line):
    paths = {suffix: tmp_path / f"out{suffix}" for suffix in SUFFIXES}
    outputs = " ".join(f"-o {path}" for path in paths.values())
    code, printed, _ = here(f"{line} -q {outputs} -f value")
    values = [float(text) for text in printed.splitlines()]
    assert code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"out{s}" for s in SUFFIXES)
    assert [r["value"] for r in json.loads(paths[".json"].read_text())["results"]] == values
    assert paths[".ndjson"].read_text() == paths[".jsonl"].read_text()
    assert [float(row["value"]) for row in table(paths[".csv"].read_text())] == values
    assert parquet.read_table(paths[".parquet"])["value"].to_pylist() == values
    ElementTree.parse(paths[".xml"])


def test_value_of_what_failed_is_no_number(here):
    assert (
        here("score p.npy broken.npy near.npy --metrics energy -f value")[1][:10] == "undefined\n"
    )


def test_value_is_one_bare_number(here):
    code, printed, _ = here("energy p.npy q.npy -f value")
    assert (code, printed) == (0, f"{float(printed)!r}\n")


def test_junit_counts_what_failed_and_what_had_errors(here):
    printed = here("score p.npy q.npy near.npy broken.npy --metrics energy --max 0.01 -f junit")[1]
    root = ElementTree.fromstring(printed)
    assert [root.get(key) for key in ("tests", "failures", "errors")] == ["3", "1", "1"]


def test_github_annotates_failures_errors_and_warnings(here):
    metrics = "mmd:kernel=laplace,bandwidth=2"
    line = f"score p.npy q.npy near.npy broken.npy --metrics {metrics} --max 0.0001 -f github"
    first, *rest = here(line)[1].splitlines()
    assert first.startswith("::error title=q.npy mmd%3Akernel=laplace%2Cbandwidth=2 max::mmd lower")
    assert any(row.startswith("::error title=E00::broken.npy: ") for row in rest)
    assert any(row.startswith("::warning title=W") for row in rest)


def test_gate_compares_the_bound_that_it_names(here):
    _, printed, _ = here("energy p.npy q.npy --max 0.01 --decide upper -f json")
    document = json.loads(printed)
    (rule,) = document["verdict"]["rules"]
    high = document["results"][0]["ci"]["high"]
    assert rule["rule"] == f"energy upper {high:.4g} > 0.01"
    assert document["verdict"]["status"] == "fail"


def test_exit_zero_changes_the_code_and_not_the_word(here):
    code, printed, _ = here("energy p.npy q.npy --max 0.001 --exit-zero")
    assert (code, "FAIL  energy lower" in printed) == (0, True)


def test_verdict_names_the_file_even_with_spaces(here, data):
    (data / "a b.npy").write_bytes((data / "q.npy").read_bytes())
    printed = here(["score", "p.npy", "a b.npy", "near.npy", "--metrics", "energy", "--max", "1"])[
        1
    ]
    assert "PASS  a b.npy: energy lower" in printed
    assert "PASS  near.npy: energy lower" in printed


def test_bits_are_nats_over_ln_two(here):
    nats, bits = (float(here(f"kl p.npy q.npy -f value --unit {u}")[1]) for u in ("nats", "bits"))
    assert math.isclose(bits * math.log(2), nats, rel_tol=1e-12)


def test_both_prints_both_directions(here):
    first, second = here("kl p.npy q.npy --both -f csv")[1].splitlines()[1:]
    assert "P||Q" in first
    assert "Q||P" in second
    back = here("kl q.npy p.npy -f value")[1].strip()
    assert back in second


def test_warning_near_zero_asks_for_permutations_until_they_are_run(here):
    for name in ("energy", "sliced"):
        assert "use --permutations" in here(f"{name} p.npy near.npy")[2]
        errors = here(f"{name} p.npy near.npy -B 19")[2]
        assert ("W04" in errors, "use --permutations" in errors) == (True, False)


def test_warning_of_a_negative_value_calls_it_not_above(here, data):
    (data / "ends.csv").write_text("x\n0\n1\n")
    assert "value is not above two standard errors (-" in here("energy ends.csv ends.csv")[2]


def test_zero_has_no_sign(here):
    printed = here("mmd line-p.npy line-p.npy --method v -f value -q")[1]
    assert printed == "0.0\n"


def test_an_unknown_statistic_lists_every_known_one(here):
    known = f"known: {', '.join(QUANTITIES)}, knn"
    assert known in here("test p.npy q.npy --statistic foo")[2]


def test_a_setting_next_to_a_whole_number_is_told_from_it(here):
    assert " power=1.9999999 " in here("energy p.npy q.npy --power 1.9999999 -q")[1]
    assert " power=1 " in here("energy p.npy q.npy -q")[1]


def test_the_unit_has_every_digit_of_the_power(here):
    printed = here("energy p.npy q.npy --power 1.9999999 -q -f json")[1]
    assert json.loads(printed)["results"][0]["unit"] == "data unit^1.9999999"


def test_github_names_the_sample_of_a_warning(here):
    printed = here("score p.npy near.npy --metrics sliced -f github -q")[1]
    assert "::warning title=W04::near.npy: sliced: samples of these sizes" in printed
