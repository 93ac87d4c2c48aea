"""Runs Python programs cheaply: a server that has imported the libraries once forks a process for each program.

`commands` starts the server and makes a folder with two commands, `python` and `seqtrain`. Each has the server run the
program with the command's own arguments, environment, current folder and streams, and ends with its exit code. SIGTERM
is handed on to the program, which ends when the command does.
"""

import atexit
import importlib
import json
import os
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Thread
from typing import Any

LIBRARIES = [
    "babel.dates", "hydra", "jaxtyping", "matplotlib.figure", "matplotlib.backends.backend_agg", "numpy", "omegaconf",
    "pandas", "safetensors.torch", "sacrebleu", "sklearn.linear_model", "tensorboard", "tokenizers", "torch",
    "torch._dynamo", "torch.optim", "torch.optim.lr_scheduler", "torch.utils.data",
    "torch.utils.tensorboard.writer", "tqdm",
]  # fmt: skip


@cache
def commands() -> Path:
    """The folder of the two commands, to be put in front of PATH. The server ends with this process."""
    folder = Path(tempfile.mkdtemp())
    address = folder / "socket"
    for name in ("python", "seqtrain"):
        command = folder / name
        client = f"{sys.executable} -I -S {Path(__file__).resolve()} {address} {name}"
        command.write_text(f'#!/bin/sh\nexec {client} "$@"\n', encoding="utf-8")
        command.chmod(0o755)
    quiet = {"TORCH_CPP_LOG_LEVEL": "ERROR"}  # read as torch is imported
    server = subprocess.Popen([sys.executable, "-P", __file__, str(address)], env=os.environ | quiet)
    atexit.register(end, server, folder)
    while not address.exists():
        assert server.poll() is None, "the server has ended"
        time.sleep(0.05)
    return folder


def end(server: "subprocess.Popen[bytes]", folder: Path) -> None:
    server.terminate()
    server.wait()
    shutil.rmtree(folder)


def request(address: str, program: dict[str, Any]) -> int:
    """Has the server run a program on the streams of this process, and returns its exit code."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        signal.signal(signal.SIGTERM, lambda *received: connection.sendall(b"t"))
        socket.send_fds(connection, [json.dumps(program).encode() + b"\n"], [0, 1, 2])
        return int(connection.makefile().readline() or 1)


def serve(address: str) -> dict[str, Any]:
    """Forks a process for each request. In that process it returns the program to run."""
    for library in LIBRARIES:
        with suppress(ImportError):
            importlib.import_module(library)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{address}.new")
        listener.listen()
        os.rename(f"{address}.new", address)
        while True:
            connection, _ = listener.accept()
            if os.fork() == 0:
                break
            connection.close()
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
    words, streams, _, _ = socket.recv_fds(connection, 1 << 16, 3)
    while not words.endswith(b"\n"):
        words += connection.recv(1 << 16)
    if child := os.fork():
        for stream in streams:
            os.close(stream)  # a reader of a pipe waits until all writers have closed it
        Thread(target=hand_on, args=(connection, child), daemon=True).start()
        status = os.waitpid(child, 0)[1]
        connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
        os._exit(0)
    connection.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, mode) for number, mode in enumerate("rww"))
    return json.loads(words)


def hand_on(connection: socket.socket, child: int) -> None:
    """Hands on the signals that a command receives, and its end."""
    with suppress(ProcessLookupError):  # it has ended
        while connection.recv(1):
            os.kill(child, signal.SIGTERM)
        os.kill(child, signal.SIGKILL)


def run(name: str, arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    """Runs a program in this process, as if Python had been started for it."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path[:0] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    if name == "seqtrain":
        sys.argv = [name, *arguments]
        runpy.run_module("seqtrain", run_name="__main__", alter_sys=True)
    elif arguments[:2] == ["-P", "-m"]:
        sys.argv = arguments[2:]
        runpy.run_module(arguments[2], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        sys.path.insert(0, os.path.dirname(os.path.abspath(arguments[0])))
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    if len(sys.argv) == 2:
        run(**serve(sys.argv[1]))
    else:
        program = {"name": sys.argv[2], "arguments": sys.argv[3:]}
        sys.exit(request(sys.argv[1], program | {"folder": os.getcwd(), "environment": dict(os.environ)}))
