"""Exit codes, signals and files that are whole or absent, each in a process of its own."""

import json
import os
import pickle
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import DIVMATCH

FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("energy p.npy q.npy", 0),
        ("energy p.npy q.npy --max 10", 0),
        ("energy p.npy q.npy --max 0.05", 0),  # the value is above, its lower bound is not
        ("energy p.npy q.npy --max 0.05 --decide point", 1),
        ("energy p.npy q.npy --max 0.001", 1),
        ("energy p.npy q.npy --min 10", 1),
        ("test p.npy q.npy --alpha 0.05 --permutations 19", 1),
        ("score p.npy q.npy --metrics energy --max 0.001", 1),
        ("energy p.npy q.npy --max 0.001 --exit-zero", 0),
        ("energy p.npy q.npy --pwer 1", 2),
        ("energy p.npy q.npy --perm 9", 2),  # long options are never abbreviated
        ("enrgy p.npy q.npy", 2),
        ("score p.npy q.npy --metrics enrgy", 2),
        ("energy p.npy q.npy --power 3", 2),
        ("energy p.npy missing.npy", 2),
        ("energy p.npy narrow.npy", 2),
        ("energy p.npy q.npy --columns 9", 2),
        ("energy p.npy q.npy --config p.csv", 2),
        ("energy p.npy q.npy --device gpu", 2),
        ("score p.npy broken.npy --metrics energy", 2),
        ("kl constant.npy q.npy --method gaussian", 3),
        ("kl p.npy q.npy -k 1000000000", 3),
        ("energy p.npy q.npy --sample 1", 3),
        ("mmd constant.npy constant.npy", 3),
        ("score p.npy constant.npy q.npy --metrics kl:method=gaussian", 3),
        ("score p.npy constant.npy broken.npy --metrics kl:method=gaussian", 2),
        ("test p.npy q.npy --statistic knn:k=100000", 3),
        ("test p.npy q.npy --statistic knn:k=100000 --alpha 0.05 --inconclusive fail", 1),
        ("kl constant.npy q.npy --method gaussian --max 1 --inconclusive pass", 0),
        ("kl constant.npy q.npy --method gaussian --inconclusive pass", 0),
        ("kl constant.npy q.npy --method gaussian --inconclusive fail", 1),
        ("kl constant.npy q.npy --method gaussian --exit-zero", 0),
        ("energy p.npy q.npy -o absent/out.json", 4),
        ("", 2),
    ],
)
def test_exit_code(run, arguments, code):
    if "gpu" in arguments and Path("/dev/nvidia0").exists():
        pytest.skip("there is a GPU")
    assert run(*arguments.split()).returncode == code


def test_a_number_that_cannot_be_had_is_written_down_all_the_same(run, data):
    command = "kl constant.npy q.npy --method gaussian --max 1 -f json -o why.json"
    found = run(*command.split())
    document = json.loads((data / "why.json").read_text())
    result, rule = document["results"][0], document["verdict"]["rules"][0]
    assert (found.returncode, document["verdict"]["exit_code"]) == (3, 3)
    assert (result["value"], result["status"], rule["status"]) == (
        None,
        "inconclusive",
        "inconclusive",
    )
    assert "covariance" in result["message"]
    assert found.stderr.count("covariance") == 1


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("score p.npy q.npy broken.npy --metrics energy --max 0.001", 2),  # 2 before 1
        ("energy p.npy near.npy --strict --max 0.00001", 2),
        ("energy p.npy near.npy --strict", 2),
        ("energy p.npy near.npy", 0),  # a warning alone changes nothing
    ],
)
def test_precedence_of_exit_codes(here, line, code):
    assert here(line)[0] == code


@FULL
@pytest.mark.parametrize("line", ["--help", "energy p.npy q.npy", "score p.npy q.npy -q -f csv"])
def test_full_disk_is_exit_four_in_one_line(run, line):
    for unbuffered in ("", "1"):
        found = run(shell=f"divmatch {line} > /dev/full", PYTHONUNBUFFERED=unbuffered)
        assert (found.returncode, found.stderr.count("\n")) == (4, 1)
        assert "error: standard output: No space left" in found.stderr


@FULL
def test_output_on_a_full_disk_is_exit_four(run, data, tmp_path):
    full = tmp_path / "out.json"
    full.symlink_to("/dev/full")
    found = run("energy", "p.npy", "q.npy", "-o", full)
    assert (found.returncode, found.stdout, found.stderr.count("\n")) == (4, "", 1)


def test_output_that_breaks_while_written_leaves_the_old_file(run, tmp_path):
    (tmp_path / "out.json").write_text("old")
    line = f"ulimit -f 0; divmatch energy p.npy q.npy -o {tmp_path}/out.json"
    found = run(shell=line)
    assert found.returncode == 4
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_bug_is_exit_seventy_and_shows_its_traceback_only_on_request(run, tmp_path):
    broken = "import divmatch.outputs as o\no.check_writable = lambda *a: 1 // 0\n"
    (tmp_path / "sitecustomize.py").write_text(broken)
    quiet = run("energy", "p.npy", "q.npy", PYTHONPATH=str(tmp_path))
    assert (quiet.returncode, quiet.stdout, "Traceback" in quiet.stderr) == (70, "", False)
    assert quiet.stderr.splitlines()[0].startswith("divmatch: internal error: ZeroDivisionError")
    assert "DIVMATCH_DEBUG=1" in quiet.stderr.splitlines()[1]
    loud = run("energy", "p.npy", "q.npy", PYTHONPATH=str(tmp_path), DIVMATCH_DEBUG="1")
    assert "Traceback" in loud.stderr
    assert loud.returncode == 70


@pytest.mark.parametrize("line", ["energy p.npy q.npy", "list", "--help", "config show"])
def test_closed_standard_output_is_exit_four(run, line):
    found = run(shell=f"divmatch {line} >&-")
    assert (found.returncode, found.stderr.count("\n")) == (4, 1)


def test_closed_standard_error_changes_nothing(run):
    found = run(shell="divmatch energy p.npy near.npy -f value 2>&-")
    assert (found.returncode, found.stdout.count("\n")) == (0, 1)


# -------------------------------------------------------------------------------------- signals


@pytest.fixture(scope="module")
def long_job(tmp_path_factory):
    """A command that computes for minutes: the energy distance of 60 000 rows in 20 columns."""
    folder = tmp_path_factory.mktemp("long")
    np.save(folder / "big.npy", np.random.default_rng(0).normal(size=(60_000, 20)))
    return [DIVMATCH, "energy", "big.npy", "big.npy", "-B", "99999", "-o", "out.json"], folder


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("delay", [0.7, 3])  # while reading, and in a kernel
def test_signal_is_a_real_death_without_traceback_or_file(long_job, number, delay):
    command, folder = long_job
    child = subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # ignored in background jobs
    )
    time.sleep(delay)
    child.send_signal(number)
    try:
        printed, errors = child.communicate(timeout=60)
    finally:
        child.kill()
    assert (child.returncode, printed, errors) == (-number, "", "")
    assert [path.name for path in folder.iterdir()] == ["big.npy"]


def test_closed_pipe_is_a_quiet_death(run):
    many = " ".join(["q.npy", "near.npy"] * 20)
    line = f"divmatch score p.npy {many} --metrics energy -f ndjson -q | head -1 | wc -l; echo ${{PIPESTATUS[0]}}"
    found = run(shell=line)
    assert (found.stdout.split(), found.stderr) == (["1", "141"], "")


def test_help_into_a_closed_pipe_is_quiet(run):
    found = run(shell="divmatch --help | true; echo ${PIPESTATUS[0]}")
    assert found.stdout.strip() in ("0", "141")
    assert found.stderr == ""


def test_kill_leaves_old_or_new_content(data, tmp_path):
    out = tmp_path / "out.json"
    out.write_text("{}")
    command = [DIVMATCH, "energy", "p.npy", "q.npy", "-o", str(out)]
    for delay in np.linspace(0.05, 0.8, 10):
        child = subprocess.Popen(command, cwd=data, stdout=subprocess.DEVNULL)
        time.sleep(delay)
        child.kill()
        child.wait()
        found = json.loads(out.read_text())
        assert found == {} or found["results"][0]["metric"] == "energy"


# ----------------------------------------------------------------------- refused before any work


@pytest.mark.parametrize(
    ("out", "code", "says"),
    [
        ("out.docx", 2, "no format has the suffix '.docx'"),
        ("absent/out.json", 4, "no such folder"),
        ("p.npy/out.json", 4, "is a file, expected a folder"),
        ("out.json -o out.json", 2, "named twice"),
    ],
)
def test_bad_output_is_refused_before_the_data_are_read(here, out, code, says):
    found, printed, errors = here(f"energy broken.npy q.npy -o {out}")
    assert (found, printed, says in errors) == (code, "", True)


@pytest.mark.parametrize(
    "line", ["energy p.npy own.csv", "score p.npy q.npy own.csv", "test own.csv p.npy"]
)
def test_an_input_is_never_replaced(here, data, line):
    (data / "own.csv").write_text("0,1,2,3\n1,2,3,4\n2,3,4,5\n")
    code, printed, errors = here(f"{line} -o {data}/own.csv")
    assert (code, printed, "is the input own.csv" in errors) == (2, "", True)
    assert (data / "own.csv").read_text().startswith("0,1,2,3\n")


@pytest.mark.parametrize(
    "line",
    [
        "score p.npy q.npy --files-from own.txt",
        "energy p.npy q.npy --config own.txt",
        "energy p.npy q.npy --weights-p own.txt",
    ],
)
def test_a_file_that_an_option_reads_is_an_input_too(here, data, line):
    (data / "own.txt").write_text("#\n")
    code, printed, errors = here(f"{line} -o own.txt")
    assert (code, printed, "is the input own.txt" in errors) == (2, "", True)
    assert (data / "own.txt").read_text() == "#\n"


@pytest.mark.parametrize(
    "line",
    [
        "energy parts-p q.parquet -o parts-p/0.parquet",
        "energy parts-p q.parquet -o parts-p/deep/new.parquet --mkdir",
        "energy q.parquet parts-p/?.parquet -o parts-p/7.parquet",
        "score q.parquet parts-p -o parts-p/new.parquet",
    ],
)
def test_a_part_of_an_input_is_never_written(here, data, line):
    before = sorted(data.glob("parts-p/**/*"))
    code, printed, errors = here(line)
    assert (code, printed) == (2, "")
    assert "would be a part of the input" in errors or "is the input" in errors
    assert sorted(data.glob("parts-p/**/*")) == before


def test_a_folder_of_parts_takes_other_files(here, data):
    assert here("energy parts-p q.parquet -o parts-p/found.json")[0] == 0
    (data / "parts-p/found.json").unlink()


def test_mkdir_makes_the_folders(here, data):
    assert here("energy p.npy q.npy -o new/folder/out.json --mkdir")[0] == 0
    assert json.loads((data / "new/folder/out.json").read_text())["command"] == "energy"


def test_pickle_is_never_loaded(here, data, tmp_path):
    class Payload:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "owned"),))

    np.save(data / "evil.npy", np.array([Payload()], dtype=object), allow_pickle=True)
    (data / "bare.npy").write_bytes(pickle.dumps(Payload()))
    for name in ("evil.npy", "bare.npy"):
        code, printed, errors = here(f"energy p.npy {name}")
        assert (code, printed, errors.count("\n")) == (2, "", 1)
    assert not (tmp_path / "owned").exists()
