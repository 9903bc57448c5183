"""Writing: whole or not at all."""

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from divmatch.errors import OutputError, SettingError
from divmatch.outputs import check_writable, whole_file, write_whole

AS_ROOT = os.geteuid() == 0


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def left() -> list[str]:
    return sorted(os.listdir())


@pytest.mark.parametrize("data", [b"\x00\xff", "größe\n", "", b""])
def test_the_file_holds_the_data_and_nothing_else_is_left(data):
    write_whole("a", data)
    assert Path("a").read_bytes() == (data.encode() if isinstance(data, str) else data)
    assert left() == ["a"]


def test_an_old_file_is_replaced():
    Path("a").write_text("a longer old content")
    write_whole("a", "new")
    assert Path("a").read_text() == "new"


def test_the_mode_of_an_old_file_is_kept():
    Path("a").touch()
    os.chmod("a", 0o640)
    write_whole("a", "new")
    assert stat.S_IMODE(os.stat("a").st_mode) == 0o640


def test_a_new_file_gets_the_mode_of_the_mask():
    before = os.umask(0o027)
    try:
        write_whole("a", "new")
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat("a").st_mode) == 0o640


def test_a_link_is_kept_and_its_target_replaced():
    Path("d").mkdir()
    Path("d/target").write_text("old")
    os.symlink("d/target", "link")
    write_whole("link", "new")
    assert os.path.islink("link")
    assert Path("d/target").read_text() == "new"


def test_a_dangling_link_makes_its_target():
    os.symlink("target", "link")
    write_whole("link", "new")
    assert os.path.islink("link")
    assert Path("target").read_text() == "new"


def test_a_missing_folder_is_an_error():
    with pytest.raises(OutputError, match="no such file or directory"):
        write_whole("d/a", "x")
    assert left() == []


def test_missing_folders_are_made_on_request():
    write_whole("d/e/a", "x", mkdir=True)
    assert Path("d/e/a").read_text() == "x"


def test_a_folder_is_no_file():
    Path("d").mkdir()
    with pytest.raises(OutputError, match="is a folder") as caught:
        write_whole("d", "x")
    assert caught.value.exit_code == 4
    assert left() == ["d"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError(28, "No space left")])
def test_an_error_while_writing_leaves_the_old_file(error):
    Path("a").write_text("old")
    expected = OutputError if isinstance(error, OSError) else error
    with pytest.raises(expected), whole_file("a") as file:  # noqa: PT012
        file.write(b"half")
        raise error
    assert Path("a").read_text() == "old"
    assert left() == ["a"]


def test_the_old_content_is_there_until_the_end():
    Path("a").write_text("old")
    with whole_file("a") as file:
        file.write(b"new")
        file.flush()
        assert Path("a").read_text() == "old"
    assert Path("a").read_text() == "new"


def test_a_full_disk_is_one_line():
    with pytest.raises(OutputError, match=r"^/dev/full: cannot be written \(no space left"):
        write_whole("/dev/full", "x" * 10_000)


def test_a_device_is_written_directly():
    write_whole("/dev/null", "x")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_named_pipe_is_written_directly():
    os.mkfifo("pipe")
    got = []
    reader = threading.Thread(target=lambda: got.append(Path("pipe").read_bytes()))
    reader.start()
    write_whole("pipe", "through")
    reader.join(10)
    assert got == [b"through"]
    assert stat.S_ISFIFO(os.stat("pipe").st_mode)


def python(code: str, **options: object) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-c", "from divmatch.outputs import *\n" + code]
    return subprocess.run(command, check=True, **options)


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_keeps_its_order(name):
    code = f"print('one')\nwrite_whole({name!r}, 'two\\n')\nprint('three')"
    assert python(code, capture_output=True).stdout == b"one\ntwo\nthree\n"


@pytest.mark.parametrize("name", ["-", "/dev/stdout"])
def test_standard_output_to_a_file_is_not_replaced(name):
    with open("a", "wb") as file:
        file.write(b"zero\n")
        file.flush()
        python(f"print('one')\nwrite_whole({name!r}, 'two\\n')\nprint('three')", stdout=file)
    assert Path("a").read_bytes() == b"zero\none\ntwo\nthree\n"


def test_a_closed_pipe_stays_a_broken_pipe():
    ends = os.pipe()
    os.close(ends[0])
    try:
        with pytest.raises(BrokenPipeError):
            write_whole(f"/dev/fd/{ends[1]}", "x")
    finally:
        os.close(ends[1])


def test_a_killed_writer_leaves_the_old_content_or_the_new():
    old, new = b"o" * 200_000, b"n" * 300_000
    code = (
        "import sys\nfrom divmatch.outputs import write_whole\n"
        "sys.stdout.write('go'); sys.stdout.flush()\n"
        "while True:\n    write_whole('a', b'n' * 300_000)\n    write_whole('a', b'o' * 200_000)"
    )
    for pause in (0.0, 0.003, 0.007, 0.013):
        Path("a").write_bytes(old)
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as writer:
            writer.stdout.read(2)
            time.sleep(pause)
            writer.send_signal(signal.SIGKILL)
        assert Path("a").read_bytes() in (old, new)


def test_long_names_leave_room_for_the_temporary_one():
    name = "ü" * 120 + ".json"
    write_whole(name, "x")
    assert left() == [name]


# -- before any work ----------------------------------------------------------------------------


def test_usable_outputs_pass():
    Path("old").touch()
    check_writable(["new", "old", "-", "/dev/null", "/dev/stdout"])
    assert left() == ["old"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("d/e/a", "no such folder .* make it or add --mkdir"),
        ("d2", "is a folder"),
        ("new/", "is a folder"),
        ("file/a", "is a file, expected a folder"),
        ("", "is a folder"),
    ],
)
def test_unusable_outputs_are_refused(path, words):
    Path("d2").mkdir()
    Path("file").touch()
    with pytest.raises(OutputError, match=words):
        check_writable([path])


def test_missing_folders_pass_if_they_will_be_made():
    check_writable(["d/e/a"], mkdir=True)
    assert left() == []


def test_folders_cannot_be_made_below_a_file():
    Path("file").touch()
    with pytest.raises(OutputError, match="is a file"):
        check_writable(["file/d/a"], mkdir=True)


def test_one_file_cannot_take_two_outputs():
    os.symlink("a", "b")
    with pytest.raises(SettingError, match="b: is named twice"):
        check_writable(["a", "b"])


def test_write_protection_is_honoured(monkeypatch):
    Path("a").touch()
    if AS_ROOT:  # nothing is protected from root
        real = os.access
        monkeypatch.setattr(os, "access", lambda p, m: not str(p).endswith("/a") and real(p, m))
    else:
        os.chmod("a", 0o444)
    with pytest.raises(OutputError, match="a: is write-protected"):
        check_writable(["a"])


def test_a_forbidden_folder_is_refused(monkeypatch):
    Path("d").mkdir()
    if AS_ROOT:
        monkeypatch.setattr(os, "access", lambda *_: False)
    else:
        os.chmod("d", 0o555)
    with pytest.raises(OutputError, match="may not be written"):
        check_writable(["d/a"])
