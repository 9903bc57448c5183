"""`divmatch score`: rows as they finish, bad files as rows, and the numbers of the single commands."""

import json
import subprocess

import numpy as np
import pytest

from tests.cli.conftest import DIVMATCH


def rows(printed):
    return [json.loads(line) for line in printed.splitlines()]


def test_a_bad_file_is_a_row_and_the_rest_go_on(here):
    code, printed, errors = here("score p.npy broken.npy q.npy no.npy --metrics energy -f ndjson")
    found = rows(printed)
    assert code == 2
    assert [(row["sample"], row["status"]) for row in found] == [
        ("broken.npy", "error"),
        ("q.npy", "ok"),
        ("no.npy", "error"),
    ]
    assert [row["value"] is None for row in found] == [True, False, True]
    assert errors.count("divmatch: error: ") == 2


def test_fail_fast_stops_at_the_first_bad_file(here):
    code, printed, _ = here("score p.npy broken.npy q.npy --metrics energy -f ndjson --fail-fast")
    assert (code, len(rows(printed))) == (2, 1)


def test_a_metric_that_fails_spares_the_others(here):
    code, printed, _ = here(
        "score p.npy constant.npy --metrics kl:method=gaussian,energy -f ndjson"
    )
    assert code == 3
    assert [row["status"] for row in rows(printed)] == ["inconclusive", "ok"]


def test_a_bad_reference_ends_the_run(here):
    code, printed, errors = here("score broken.npy q.npy -f csv")
    assert (code, printed, errors.count("\n")) == (2, "", 1)


@pytest.mark.parametrize(
    ("line", "names"),
    [
        (r"printf 'q.npy\nnear.npy\n' > list; divmatch score p.npy --files-from list", "q near"),
        (r"printf 'q.npy\nnear.npy' | divmatch score p.npy --files-from -", "q near"),
        (r"printf 'q.npy\0near.npy\0' | divmatch score p.npy -0 --files-from -", "q near"),
        (r"echo near.npy | divmatch score p.npy q.npy --files-from -", "q near"),
    ],
)
def test_names_come_from_a_list(run, line, names):
    found = run(shell=f"{line} --metrics energy -f ndjson -q")
    assert [row["sample"] for row in rows(found.stdout)] == [
        f"{name}.npy" for name in names.split()
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["p.npy"], "no sample sets"),
        (["-", "p.npy", "-"], "only once"),
        (["p.npy", "--files-from", "constant.npy"], "NUL bytes"),
        (["p.npy", "--files-from", "missing"], "no such file"),
        (["p.npy", "q.npy", "--metrics", ","], "at least one metric"),
        (["p.npy", "q.npy", "--metrics", "energy,energy"], "named twice"),
        (["p.npy", "q.npy", "--metrics", "kl:k=0"], "at least 1"),
        (["p.npy", "q.npy", "--metrics", "kl:k"], "expected key=value"),
        (["p.npy", "q.npy", "--metrics", "mmd:power=1"], "has no setting 'power'"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_one_line(here, arguments, says):
    code, printed, errors = here(["score", *arguments])
    assert (code, printed, errors.count("\n")) == (2, "", 1)
    assert says in errors


def test_rows_appear_as_they_finish(data):
    np.save(data / "long.npy", np.random.default_rng(0).normal(size=(200_000, 4)))
    command = [DIVMATCH, "score", "p.npy", "q.npy", "long.npy", "--metrics", "energy"]
    child = subprocess.Popen([*command, "-f", "ndjson"], cwd=data, stdout=subprocess.PIPE)
    assert child.stdout is not None
    first, running = json.loads(child.stdout.readline()), child.poll() is None
    child.kill()
    child.communicate()
    assert (first["sample"], running) == ("q.npy", True)


def test_score_equals_the_commands_with_the_same_settings(here):
    commands = {
        "energy": "energy",
        "mmd:kernel=laplace": "mmd --kernel laplace --bandwidth reference",
        "mmd:bandwidth=2": "mmd --bandwidth 2",
        "kl:k=3": "kl -k 3",
        "kl:method=gaussian": "kl --method gaussian",
        "sliced:p=1": "sliced -p 1",
    }
    line = f"score p.npy near.npy q.npy --metrics {','.join(commands)} -f ndjson -q"
    found = {(row["sample"], row["id"]): row["value"] for row in rows(here(line)[1])}
    for sample in ("near.npy", "q.npy"):
        for metric, single in commands.items():
            name, *settings = single.split()
            value = float(here([name, "p.npy", sample, *settings, "-f", "value", "-q"])[1])
            assert found[sample, metric] == value


def test_order_of_samples_changes_no_number(here):
    """Which of two sizes is the odd one (W31) is a matter of the order."""
    first = rows(here("score p.npy q.npy near.npy -f ndjson -q")[1])
    second = rows(here("score p.npy near.npy q.npy -f ndjson -q")[1])
    for row in (*first, *second):
        row["warnings"] = [note for note in row["warnings"] if note["code"] != "W31"]
        row["status"] = "warn" if row["warnings"] else "ok"
    assert sorted(map(str, first)) == sorted(map(str, second))


def test_table_is_sorted_by_the_first_metric(here):
    printed = here("score p.npy q.npy near.npy broken.npy --metrics energy,kl -q")[1]
    places = [printed.index(name) for name in ("near.npy", "q.npy", "broken.npy")]
    assert places == sorted(places)
    assert "1 of 3 sample sets lacks a number" in printed


def samples_of(printed):
    """The first column of the table, below its head."""
    return [line.split("  ")[0] for line in printed.splitlines()[1:] if ".npy  " in line]


def test_files_of_one_name_in_two_folders_are_told_apart(here, data):
    for folder in ("one", "two"):
        (data / folder).mkdir()
        (data / folder / "q.npy").write_bytes((data / "q.npy").read_bytes())
    printed = here("score p.npy one/q.npy two/q.npy --metrics energy -q")[1]
    assert samples_of(printed) == ["one/q.npy", "two/q.npy"]


def test_a_sample_set_given_twice_has_two_rows(here):
    printed = here("score p.npy q.npy q.npy --metrics energy,mmd -q")[1]
    assert printed.count("q.npy ") == 2
    assert "q.npy (2)" in printed


def test_a_broken_sample_set_given_twice_counts_twice(here):
    printed = here("score p.npy q.npy broken.npy broken.npy --metrics energy -q")[1]
    assert "2 of 3 sample sets lack a number" in printed


def test_every_row_is_held_against_the_limit(here):
    line = "score p.npy near.npy q.npy --metrics energy --max 0.01 -f json -q"
    code, printed, _ = here(line)
    verdict = json.loads(printed)["verdict"]
    assert code == verdict["exit_code"] == 1
    assert [rule["status"] for rule in verdict["rules"]] == ["pass", "fail"]


def test_progress_events_are_json(here):
    errors = here("score p.npy q.npy near.npy --metrics energy --progress json -q")[2]
    assert [(event["done"], event["total"]) for event in rows(errors)] == [(1, 2), (2, 2)]


def test_an_error_names_the_sample_set_once(here, data):
    np.save(data / "single.npy", np.ones((1, 4)))
    _, _, errors = here("score p.npy single.npy --metrics energy")
    assert errors.startswith("divmatch: error: single.npy: energy: one row ")


def test_sets_that_cannot_be_told_apart_share_a_letter(here, data):
    rng = np.random.default_rng(4)
    for name, shift in (("one", 0.5), ("two", 0.5), ("off", 1.0)):
        np.save(data / f"s-{name}.npy", rng.normal(shift, 1.0, size=(400, 4)))
    line = "score p.npy s-off.npy s-one.npy s-two.npy --metrics energy -q"
    printed = here(line)[1].splitlines()
    assert [row.split()[-1] for row in printed[:4]] == ["group", "a", "a", "b"]
    assert printed[-1] == "sets that share a letter cannot be told apart by energy at 5% (Holm)"
    found = json.loads(here(f"{line} -f json")[1])["results"]
    assert [one["group"] for one in found] == ["b", "a", "a"]


def test_letters_are_those_of_rank(here):
    names = ["q.npy", "near.npy", "line-p.npy"][:2]
    line = f"p.npy {' '.join(names)} -f json -q"
    scored = json.loads(here(f"score {line} --metrics energy")[1])["results"]
    ranked = json.loads(here(f"rank {line}")[1])["results"][:2]
    letters = [{one["sample"]: one["group"] for one in rows} for rows in (scored, ranked)]
    assert letters[0] == letters[1]


def test_biased_metrics_of_other_sizes_are_told(here):
    line = "score p.npy q.npy near.npy --metrics energy:method=v,energy -f json"
    found = json.loads(here(f"{line} -q")[1])["results"]
    codes = [{note["code"] for note in one["warnings"]} for one in found]
    assert ["W31" in one for one in codes] == [False, False, True, False]
    code, printed, _ = here(f"{line} --extrapolate -q")
    assert (code, "W31" in printed) == (0, False)


def test_extrapolated_values_are_near_the_unbiased_ones(here):
    line = "score p.npy q.npy --metrics energy:method=v,energy --extrapolate -f json -q"
    v, u = json.loads(here(line)[1])["results"]
    assert v["bias"]["corrected"] == "value"
    assert abs(v["value"] - u["value"]) < 0.2 * v["bias"]["estimate"]
    assert v["ci"]["low"] < v["value"] < v["ci"]["high"]


def test_resumed_rows_are_not_made_again(here, data):
    line = "score p.npy q.npy near.npy --metrics energy,mmd -q --resume done.csv"
    first = here(f"{line} -f ndjson")[1]
    finished = (data / "done.csv").read_text()
    second = here(f"{line} -f ndjson")[1]
    assert (data / "done.csv").read_text() == finished
    assert all(row["resumed"] for row in rows(second))
    assert [row["value"] for row in rows(first)] == [row["value"] for row in rows(second)]
    assert [row["n"] for row in rows(first)] == [row["n"] for row in rows(second)]


def test_other_data_or_settings_are_made_again(here, data):
    np.save(data / "changing.npy", np.load(data / "q.npy"))
    line = "score p.npy changing.npy --metrics energy -q --resume changes.csv -f ndjson"
    here(line)
    assert "resumed" not in rows(here(f"{line} --level 0.9")[1])[0]
    np.save(data / "changing.npy", np.load(data / "q.npy") + 1)
    assert "resumed" not in rows(here(line)[1])[0]
    assert len((data / "changes.csv").read_text().splitlines()) == 4


def test_a_row_that_was_cut_off_is_made_again(here, data):
    line = "score p.npy q.npy near.npy --metrics energy -q --resume cut.csv -f ndjson"
    here(line)
    whole = (data / "cut.csv").read_text()
    (data / "cut.csv").write_text(whole[:-20])
    assert ["resumed" in row for row in rows(here(line)[1])] == [True, False]
    assert (data / "cut.csv").read_text() == whole


def test_errors_are_tried_again(here, data):
    line = "score p.npy broken.npy q.npy --metrics energy -q --resume again.csv"
    assert [here(line)[0] for _ in "ab"] == [2, 2]
    assert len((data / "again.csv").read_text().splitlines()) == 2


def test_another_table_is_not_added_to(here, data):
    (data / "foreign.csv").write_text("a,b\n1,2\n")
    code, _, errors = here("score p.npy q.npy --resume foreign.csv")
    assert (code, "is not a table of" in errors) == (2, True)
    assert (data / "foreign.csv").read_text() == "a,b\n1,2\n"


def test_rows_of_every_set(here, data):
    from pyarrow import parquet
    from scipy.spatial.distance import cdist

    here("score p.npy q.npy near.npy --metrics energy,sliced -q --rows rows.parquet")
    table = parquet.read_table(data / "rows.parquet")
    own = ["nearest", "log_ratio", "authentic"]
    assert table.column_names == ["sample", "row", *own, "energy witness", "sliced influence"]
    found = table.to_pydict()
    assert found["row"] == [*range(500), *range(200)]
    p, q = np.load(data / "p.npy"), np.load(data / "q.npy")
    assert found["nearest"][:500] == pytest.approx(cdist(q, p).min(axis=1), abs=1e-12)
    own = cdist(q, q).sum(axis=1) / 499
    assert found["energy witness"][:500] == pytest.approx(cdist(q, p).mean(axis=1) - own, abs=1e-12)


def test_rows_need_the_estimates_but_no_second_line_in_the_table(here, data):
    line = "score p.npy q.npy --metrics energy -q --resume twice.csv"
    assert [here(line + flag)[0] for flag in ("", " --rows twice.parquet")] == [0, 0]
    assert len((data / "twice.csv").read_text().splitlines()) == 2
    assert (data / "twice.parquet").stat().st_size > 0


def test_rows_are_parquet(here):
    code, _, errors = here("score p.npy q.npy --rows rows.csv")
    assert (code, "ends with .parquet" in errors) == (2, True)


def test_keep_going_is_the_default(here):
    line = "score p.npy broken.npy q.npy --metrics energy -f ndjson -q"
    counts = [len(rows(here(line + flag)[1])) for flag in ("", " --keep-going", " --fail-fast")]
    assert counts == [2, 2, 1]


def test_prdc_is_four_metrics_with_the_numbers_of_its_command(here):
    _, printed, _ = here("score p.npy q.npy --metrics prdc:k=3,energy -f ndjson")
    found = rows(printed)
    kinds = ("precision", "recall", "density", "coverage")
    assert [row["id"] for row in found] == [*(f"prdc:kind={kind},k=3" for kind in kinds), "energy"]
    _, printed, _ = here("prdc p.npy q.npy -k 3 -f ndjson")
    assert [row["value"] for row in found[:4]] == [row["value"] for row in rows(printed)]


def test_swapped_reference_and_sample_swap_precision_and_recall(here):
    found = [
        rows(here(f"score {names} --metrics prdc -f ndjson")[1])
        for names in ("p.npy q.npy", "q.npy p.npy")
    ]
    values = [{row["id"]: row["value"] for row in printed} for printed in found]
    assert values[0]["prdc:kind=precision"] == values[1]["prdc:kind=recall"]
    assert {row["direction"] for row in found[0]} == {"ref->sample"}


def test_the_largest_share_stands_first(here):
    _, printed, _ = here("score p.npy q.npy near.npy --metrics prdc:kind=precision")
    lines = printed.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["near.npy", "q.npy"]
    assert "larger is nearer" in printed


@pytest.mark.parametrize("name", ["/dev/full", "-", "rows.txt", "folder.csv"])
def test_resume_takes_ordinary_csv_files_alone(here, data, name):
    (data / "folder.csv").mkdir(exist_ok=True)
    code, printed, errors = here(f"score p.npy q.npy --resume {name}")
    assert (code in (2, 4), printed, name in errors) == (True, "", True)
    assert not (data / "-").exists()


@pytest.mark.parametrize("option", ["--rows p-rows.parquet", "--resume p-rows.csv"])
def test_other_outputs_do_not_replace_an_input_either(here, data, option):
    name = option.split()[1]
    (data / name).write_bytes(b"kept")
    code, _, errors = here(f"score p.npy {name} {option}")
    assert (code, "choose another name" in errors) == (2, True)
    assert (data / name).read_bytes() == b"kept"


@pytest.mark.parametrize("flag", ["--keep-going", "--fail-fast"])
@pytest.mark.parametrize("metrics", ["energy,sliced", "prdc:kind=precision", "mmd:method=block"])
def test_a_run_that_was_stopped_and_resumed_prints_what_one_run_prints(here, data, flag, metrics):
    sets = "q.npy near.npy line-2.npy q-again.npy broken.npy"
    np.save(data / "q-again.npy", np.load(data / "q.npy")[::-1] + 0.01)
    np.save(data / "line-2.npy", np.load(data / "q.npy") * 2)
    line = f"score p.npy {{}} --metrics {metrics} {flag} -q"
    whole = here(line.format(sets))
    name = f"{metrics[:4]}{flag}.csv"
    here(f"{line.format(sets[:14])} --resume {name}")
    path = data / f"{name}.groups"
    path.write_bytes(path.read_bytes() + b"blake2b:0123456789abcdef\t{")  # killed while writing
    assert here(f"{line.format(sets)} --resume {name}") == whole
    assert whole[0] == 2
    assert ("share a letter" in whole[1]) == (metrics != "prdc:kind=precision")


def test_a_table_without_its_groups_says_why_it_has_no_letters(here, data):
    line = "score p.npy q.npy near.npy --metrics energy,sliced -q --resume groups.csv"
    fresh = here(line)[1]
    (data / "groups.csv.groups").unlink()
    resumed = here(line)[1]
    assert "no groups: 2 sample sets came from the --resume table, and groups.csv.groups" in resumed
    assert fresh.count("*") == resumed.count("*")


def test_what_is_wrong_with_a_file_is_said_once(here, data):
    np.save(data / "vast.npy", np.full((5, 4), 1e300))
    _, _, errors = here("score p.npy vast.npy --metrics energy,mmd,sliced")
    assert errors.count("vast.npy: the largest value") == 1


def test_a_set_without_a_number_leaves_the_groups_of_the_others(here, data):
    np.save(data / "single.npy", np.load(data / "p.npy")[:1])
    line = "score p.npy q.npy {} near.npy --metrics energy -f json -q"
    found = [json.loads(here(line.format(name))[1])["results"] for name in ("", "single.npy")]
    groups = [{row["sample"]: row.get("group") for row in one} for one in found]
    assert groups[1] == {**groups[0], "single.npy": None}
    assert None not in groups[0].values()
