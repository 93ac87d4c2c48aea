"""mode=serve as a process of its own: rude clients, and a signal while requests are in flight."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from seqtrain import cli

pytest.importorskip("fastapi")
import httpx

MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def server(runs: dict[str, Path]):
    command = [sys.executable, "-m", "seqtrain", "mode=serve", f"checkpoint={runs['music']}", "serve.port=0"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*command, "serve.time=60"], stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    found = re.search(r"http://127\.0\.0\.1:\d+", process.stderr.readline())
    assert found
    yield process, found[0]
    process.kill()
    process.wait()
    process.stderr.close()


def ask(address: str, length: int = 4) -> httpx.Response:
    asked = {"inputs": ["C4+E4"], "decode": {"length": length}}
    return httpx.post(f"{address}/api/predict", json=asked, timeout=60)


def connect(address: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])))


def test_a_rude_client_gets_an_error_and_the_next_request_is_answered(server):
    _, address = server
    large = httpx.post(f"{address}/api/predict", content=bytes(100 * MEBIBYTE), timeout=60)
    assert (large.status_code, large.json()) == (
        413,
        {"error": "the body has more than 8,388,608 bytes (serve.body, in MiB)"},
    )
    assert ask(address).status_code == 200
    with connect(address) as waits:  # asks first whether it may send so much
        waits.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n")
        assert waits.recv(100).startswith(b"HTTP/1.1 413 ")
    head = (
        b"POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 64\r\n\r\n"
    )
    with connect(address) as leaves:  # in the middle of its request
        leaves.sendall(head + b'{"inputs"')
    assert ask(address).status_code == 200
    with connect(address) as leaves:  # before it has an answer
        leaves.sendall(head + b'{"inputs": ["C4"], "decode": {"length": 10000}}'.ljust(64))
        time.sleep(0.2)
    begin = time.monotonic()
    assert ask(address).status_code == 200
    assert time.monotonic() - begin < 10  # 10,000 frames take longer: nobody waited for them any more
    with connect(address) as nonsense:
        nonsense.sendall(b"\0\0\0\r\n\r\n")
        assert nonsense.recv(100).startswith(b"HTTP/1.1 400 ")
    assert ask(address).status_code == 200


def test_what_is_in_flight_is_answered_before_it_stops(server):
    process, address = server
    with ThreadPoolExecutor(20) as clients:
        answers = [clients.submit(ask, address, 200) for _ in range(20)]
        while "seqtrain_in_flight 21\n" not in httpx.get(f"{address}/metrics").text:
            assert not any(answer.done() for answer in answers)
        process.send_signal(signal.SIGTERM)
        assert [answer.result().status_code for answer in answers] == [200] * 20
    assert process.wait(30) == 0
    with pytest.raises(httpx.ConnectError):
        ask(address)
    assert process.stderr.read().endswith("stopped; what was asked is answered\n")


@pytest.mark.usefixtures("own_log")
def test_an_address_that_is_taken(runs, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert cli.main(["mode=serve", f"checkpoint={runs['sentiment']}", f"serve.port={port}"]) == 2
    assert f"serve.host=127.0.0.1 serve.port={port}: Address already in use; serve.port=0" in capsys.readouterr().err
