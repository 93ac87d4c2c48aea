"""Standard streams that are closed or full, terminals, and a Ctrl-C before anything runs."""

import io
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tqdm import tqdm

from seqtrain import cli
from seqtrain.commands.outputs import check_streams
from seqtrain.config import UserError
from seqtrain.machine import signals
from seqtrain.terminal import streams
from seqtrain.terminal.streams import Terminal


def shell(redirected: str, code: str) -> subprocess.CompletedProcess[str]:
    """Runs Python with its streams as a shell makes them."""
    command = ["sh", "-c", f'exec "$@" {redirected}', "sh", sys.executable, "-c", code]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(command, capture_output=True, text=True, env=buffered)


PREPARED = """
import os, sys
from seqtrain.terminal import streams
streams.prepare()
file = os.open(sys.executable, os.O_RDONLY)
assert file > 2, file
print("out", flush=True)
print("err", file=sys.stderr, flush=True)
try:
    os.read(sys.stdin.fileno(), 1)
except OSError as error:
    assert 0 in streams.closed, error
sys.exit(streams.finish(0) or 10 * len(streams.closed))
"""


@pytest.mark.parametrize(
    ("redirected", "code", "out", "err"),
    [
        ("", 0, "out\n", "err\n"),
        (">&-", 10, "", "err\n"),
        ("2>&-", 10, "out\n", ""),
        ("<&-", 10, "out\n", "err\n"),
        ("<&- >&- 2>&-", 30, "", ""),
    ],
)
def test_closed_streams_are_there_again(redirected: str, code: int, out: str, err: str):
    done = shell(redirected, PREPARED)
    assert (done.returncode, done.stdout, done.stderr) == (code, out, err)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    ("redirected", "code", "err"),
    [
        (">/dev/full", 1, "seqtrain: standard output: No space left on device\n"),
        ("2>/dev/full", 0, ""),
        (">/dev/full 2>&1", 1, ""),
    ],
)
def test_what_cannot_be_printed_is_said_once(redirected: str, code: int, err: str):
    printing = (
        "import sys; from seqtrain.terminal import streams; streams.prepare(); print('out'); streams.say('x' * 9000)\n"
    )
    printing = printing if "2>" in redirected else printing.replace("streams.say('x' * 9000)", "pass")
    done = shell(redirected, f"{printing}sys.exit(streams.finish(0))")
    assert (done.returncode, done.stderr) == (code, err)


def test_help_into_a_full_disk_ends_in_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys.stdout, "write", fail)
    monkeypatch.setattr(streams, "unwritable", lambda: True)
    assert cli.main(["--version"]) == 1
    assert capsys.readouterr().err == "seqtrain: standard output: No space left on device\n"


@pytest.mark.parametrize(
    ("closed", "words", "told"),
    [(0, ["input=-"], "standard input is closed"), (1, ["input=in"], "standard output is closed")],
)
def test_predictions_need_their_streams(closed: int, words: list[str], told: str, monkeypatch: pytest.MonkeyPatch):
    config = {"input": words[0].removeprefix("input="), "output": None}
    monkeypatch.setattr(streams, "closed", {closed})
    with pytest.raises(UserError, match=told):
        check_streams(config)


# ---------------------------------------------------------------------------------------------------- terminals


def shown(*texts: str, bar: bool = False) -> str:
    raw = io.BytesIO()
    terminal = Terminal(raw, encoding="utf-8", newline="\n")
    for text in texts:
        terminal.write(text)
    if bar:
        with tqdm(total=2, file=terminal, mininterval=0, miniters=1, desc="train") as outer:
            with tqdm(total=2, file=terminal, mininterval=0, miniters=1, leave=False) as inner:
                inner.update()
            tqdm.write("a line", file=terminal)
            outer.update()
    terminal.flush()
    return raw.getvalue().decode()


def test_control_characters_are_shown_not_obeyed():
    hostile = "\x1b[31mred\x1b]0;title\x07 \x9b2J\x7f\x08 a\rb"
    assert shown(hostile) == r"\x1b[31mred\x1b]0;title\x07 \x9b2J\x7f\x08 a\x0db"
    plain = "tab\tline\n日本語 é ‏עברית\n"
    assert shown(plain) == plain
    assert shown("\x1b[A\x1b[Aup") == r"\x1b[A\x1b[Aup"  # what moves has no text of its own


def test_bars_of_progress_move_as_ever():
    found = shown(bar=True)
    assert "\rtrain" in found
    assert "\x1b[A" in found
    assert "\\x" not in found


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_terminal_is_guarded_a_file_is_not():
    code = "from seqtrain.terminal.streams import prepare\nprepare(); print('\\x1b[31m'); prepare(); print('\\x07')"
    master, slave = os.openpty()
    subprocess.run([sys.executable, "-c", code], stdout=slave, check=True)
    os.close(slave)
    assert os.read(master, 100) == b"\\x1b[31m\r\n\\x07\r\n"
    os.close(master)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"\x1b[31m\n\x07\n"


# ---------------------------------------------------------------------------------------------------- Ctrl-C


def test_a_ctrl_c_while_all_is_imported_ends_in_a_line():
    code = "import os, signal; from seqtrain.machine import signals\nwith signals.importing():\n"
    code += "    os.kill(os.getpid(), signal.SIGINT)\n    import nothing_is_imported_any_more"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "seqtrain: interrupted\n")


def test_a_ctrl_c_is_heard_before_anything_large_is_imported():
    code = "import sys; import seqtrain.__main__; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"pathlib", "logging", "hydra", "omegaconf", "argparse"} & set(done.stdout.split())


def test_after_the_import_a_ctrl_c_is_what_it_was():
    before = signal.getsignal(signal.SIGINT)
    with signals.importing():
        assert signal.getsignal(signal.SIGINT) is signals.end_at_once
        with signals.importing():
            pass
    assert signal.getsignal(signal.SIGINT) is before
    with signals.Interruption(), signals.importing():
        assert signal.getsignal(signal.SIGINT) is not signals.end_at_once
    thread = threading.Thread(target=lambda: signals.importing().__enter__())
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_hangup_that_is_ignored_stays_so(monkeypatch: pytest.MonkeyPatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.Interruption() as found:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not found.signal
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        with pytest.raises(signals.Interrupted) as caught, signals.Interruption():
            os.kill(os.getpid(), signal.SIGHUP)
        assert caught.value.code == 129
    finally:
        signal.signal(signal.SIGHUP, before)
