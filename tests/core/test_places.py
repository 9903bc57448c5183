"""Places: what stands for a stream, and what its first bytes say it holds."""

import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from divmatch.errors import FileError
from divmatch.files import check_readable, read_table
from divmatch.tables import Reading

ROWS = np.arange(12.0).reshape(4, 3)


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


class Piped:
    """Standard input that holds these bytes."""

    closed = False

    def __init__(self, data: bytes) -> None:
        self.buffer = io.BytesIO(data)


def npy() -> bytes:
    made = io.BytesIO()
    np.save(made, ROWS)
    return made.getvalue()


@pytest.mark.parametrize("name", ["-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"])
def test_every_name_of_standard_input_is_sniffed(name, monkeypatch):
    monkeypatch.setattr(sys, "stdin", Piped(npy()))
    np.testing.assert_array_equal(read_table(name, Reading()).numbers, ROWS)


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_every_name_of_standard_input_takes_a_key(name, monkeypatch):
    made = io.BytesIO()
    np.savez(made, x=ROWS, y=ROWS[:2])
    monkeypatch.setattr(sys, "stdin", Piped(made.getvalue()))
    np.testing.assert_array_equal(read_table(f"{name}::y", Reading()).numbers, ROWS[:2])


def test_a_file_behind_a_descriptor_is_sniffed():
    Path("noname").write_bytes(npy())
    with open("noname", "rb") as file:
        found = read_table(f"/dev/fd/{file.fileno()}", Reading())
    np.testing.assert_array_equal(found.numbers, ROWS)


def test_a_pipe_behind_a_descriptor_is_sniffed():
    reading, writing = os.pipe()
    os.write(writing, npy())
    os.close(writing)
    try:
        found = read_table(f"/dev/fd/{reading}", Reading())
    finally:
        os.close(reading)
    np.testing.assert_array_equal(found.numbers, ROWS)


@pytest.mark.parametrize("pair", [["-", "/dev/stdin"], ["/dev/fd/0", "/dev/stdin::x"]])
def test_standard_input_by_two_names_is_still_read_once(pair):
    with pytest.raises(FileError, match="only once"):
        check_readable(pair)


@pytest.mark.parametrize("form", ["npy", "npz", "parquet"])
def test_text_is_no_binary_stream(form, monkeypatch):
    monkeypatch.setattr(sys, "stdin", Piped(b"a,b\n1,2\n"))
    with pytest.raises(FileError) as caught:
        read_table("-", Reading(stdin_format=form))
    assert str(caught.value) == (
        f"-: is no .{form} stream, it starts with b'a,b\\n1,2\\n'; "
        "correct --stdin-format, or leave it out"
    )


@pytest.mark.parametrize("form", ["csv", "tsv", "ndjson"])
def test_an_array_is_no_text_stream(form, monkeypatch):
    monkeypatch.setattr(sys, "stdin", Piped(npy()))
    with pytest.raises(FileError, match=rf"^-: is no \.{form} stream, it looks like \.npy; corr"):
        read_table("-", Reading(stdin_format=form))


def test_an_array_called_csv_is_refused_by_its_first_bytes():
    Path("a.csv").write_bytes(npy())
    with pytest.raises(FileError, match=r"^a\.csv: is no \.csv file, it looks like \.npy; rename"):
        check_readable(["a.csv"])


def test_a_header_may_start_with_the_mark_of_parquet():
    Path("a.csv").write_text("PAR1,PAR2\n1,2\n")
    assert read_table("a.csv", Reading()).names == ("PAR1", "PAR2")


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_an_array_of_objects_is_refused_in_our_words(name):
    objects = np.array([{}], dtype=object)
    np.save("a.npy", objects, allow_pickle=True)
    np.savez("a.npz", x=objects)
    with pytest.raises(FileError) as caught:
        read_table(name, Reading())
    assert str(caught.value) == (
        f"{name}: holds Python objects, which are never unpickled; save numbers instead"
    )
