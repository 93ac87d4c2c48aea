"""Runs Python programs cheaply: a server that has imported the libraries once forks a process for each program.

`start` starts the server and makes a folder with two commands, `python` and `seqtrain`. Each has the server run the
program with the command's own arguments, environment, current folder and streams, and ends with its exit code.
"""

import importlib
import json
import os
import runpy
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

LIBRARIES = [
    "babel.dates", "hydra", "jaxtyping", "matplotlib.figure", "matplotlib.backends.backend_agg", "numpy", "omegaconf",
    "pandas", "safetensors.torch", "sacrebleu", "sklearn.linear_model", "tensorboard", "tokenizers", "torch",
    "torch._dynamo", "torch.optim", "torch.optim.lr_scheduler", "torch.utils.data",
    "torch.utils.tensorboard.writer", "tqdm",
]  # fmt: skip


@contextmanager
def start(folder: Path) -> Iterator[Path]:
    """Yields the folder of the two commands, to be put in front of PATH. The server ends with the context."""
    address = folder / "socket"
    for name in ("python", "seqtrain"):
        command = folder / name
        client = f"{sys.executable} -I -S {Path(__file__).resolve()} {address} {name}"
        command.write_text(f'#!/bin/sh\nexec {client} "$@"\n', encoding="utf-8")
        command.chmod(0o755)
    with subprocess.Popen([sys.executable, "-P", __file__, str(address)]) as server:
        while not address.exists():
            assert server.poll() is None, "the server has ended"
            time.sleep(0.05)
        try:
            yield folder
        finally:
            server.terminate()


def request(address: str, program: dict[str, Any]) -> int:
    """Has the server run a program on the streams of this process, and returns its exit code."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
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
        status = os.waitpid(child, 0)[1]
        connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
        os._exit(0)
    connection.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, mode) for number, mode in enumerate("rww"))
    return json.loads(words)


def run(name: str, arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    """Runs a program in this process, as if Python had been started for it."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path[:0] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    if name == "seqtrain":
        sys.argv = [name, *arguments]
        runpy.run_module("seqtrain", run_name="__main__", alter_sys=True)
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
