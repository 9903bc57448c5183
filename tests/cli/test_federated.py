"""`divmatch ot --federated`: both files at hand, or one party in each process."""

import json
import threading

import jsonschema
import pytest


def test_bound_is_above_the_exact_distance_which_is_said(here, data):
    code, printed, errors = here(
        "ot p.npy q.npy --federated --support 8 --rounds 2 --sample 60 -f json"
    )
    found = json.loads(printed)["results"][0]
    exact = float(here("ot p.npy q.npy --sample 60 -f value -q")[1])
    params = found["params"]
    assert (code, found["method"], found["exact"]) == (0, "federated", False)
    assert params["exact_distance"] == exact <= found["value"]
    assert params["above_exact"] == pytest.approx(found["value"] - exact)
    assert "warning[W55]: an upper bound: the exact distance is" in errors


def test_two_processes_find_what_one_finds(run, here, data, tmp_path):
    """Each prints a record of its own: the same value, its own file in its own role."""
    given = "--federated --support 8 --rounds 2 -f json -q --columns 0,1 --sample 20"
    found = {}

    def party(role, file):
        found[role] = run(
            *f"ot {file} {given} --share {tmp_path} --role {role} --timeout 60".split()
        )

    threads = [
        threading.Thread(target=party, args=pair)
        for pair in (("first", "p.npy"), ("second", "q.npy"))
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    alone = json.loads(here(f"ot p.npy q.npy {given}")[1])["results"][0]
    schema = json.loads(here("schema result")[1])
    for side, role in (("first", "p"), ("second", "q")):
        assert found[side].returncode == 0
        record = json.loads(found[side].stdout)
        jsonschema.validate(record, schema)
        assert record["results"][0]["value"] == alone["value"]
        assert [(one["role"], one["name"]) for one in record["inputs"]] == [(role, f"{role}.npy")]


def test_waiting_ends_inconclusive_in_one_line(here, data, tmp_path):
    line = f"ot p.npy --federated --share {tmp_path} --role second --timeout 0.2"
    code, printed, errors = here(line)
    assert (code, printed, errors.count("\n")) == (3, "", 1)
    assert "no first.npz from the first party within 0.2 s" in errors
    code, _, errors = here(line)
    assert (code, "holds second.npz of an earlier run" in errors) == (2, True)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ot p.npy", "ot: missing argument 'Q'"),
        ("ot p.npy --federated", "missing argument 'Q'; with --share DIR it is the other party's"),
        ("ot p.npy q.npy --rounds 3", "--rounds: has an effect only with --federated"),
        ("ot p.npy q.npy --federated --role first", "--role: has an effect only with --share"),
        ("ot p.npy q.npy --federated --share . --role first", "leave out Q"),
        ("ot p.npy --federated --share .", "missing --role first or second"),
        ("ot p.npy --federated --share none --role first", "--share none: no such folder"),
        ("ot p.npy --federated --share . --role first --scale ref-sd", "--scale ref-sd: would be"),
        ("ot p.npy q.npy --federated --debias", "--debias: cannot be combined"),
        ("ot p.npy q.npy --federated -B 9", "--permutations: cannot be combined"),
        ("ot p.npy q.npy --federated --cost cosine", "is no norm of a difference"),
        ("ot p.npy q.npy --federated --time 1", "--time 1: expected a number above 0, below 1"),
        ("ot p.npy q.npy --federated --support 9 --max-support 8", "is above --max-support 8"),
    ],
)
def test_mistake_is_one_line(here, data, line, message):
    code, printed, errors = here(line)
    assert (code, printed) == (2, "")
    assert message in errors
    assert errors.count("\n") == 1
