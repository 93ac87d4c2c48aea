"""What every request passes: its size, its time and where it comes from are limited, and it is counted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from time import monotonic
from typing import Any

from seqtrain.serving.metrics import Metrics

DRAINED = 1 << 28  # bytes of a body that is too long which are read all the same: many clients read an answer only then
HEADERS = {
    # the page needs nothing but what this server sends, and no other page may show it or read from it
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Refused(Exception):
    """A request is not let in. status: of the answer."""

    def __init__(self, status: int, problem: str):
        super().__init__(problem)
        self.status, self.problem = status, problem


class Gate:
    """An ASGI application around another one.

    paths: what is counted by its own name. hosts: the names by which the server may be called; None: any. most: bytes
    of a body. seconds: in which it has to come in.
    """

    def __init__(
        self,
        app: Any,
        metrics: Metrics,
        paths: Collection[str],
        hosts: Collection[str] | None,
        most: int,
        seconds: float,
    ):
        self.app, self.metrics, self.paths = app, metrics, paths
        self.hosts, self.most, self.seconds = hosts, most, seconds

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begin, status = monotonic(), 499  # the client has gone

        async def answer(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                more = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message = message | {"headers": [*message["headers"], *more]}
            await send(message)

        self.metrics.in_flight += 1
        try:
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            self.check(headers)
            await self.app(scope, replayed(await self.body(headers, receive), receive), answer)
        except Refused as refused:
            await refuse(refused, answer)
        except ConnectionError:
            pass
        finally:
            self.metrics.in_flight -= 1
            path = scope["path"] if scope["path"] in self.paths else "other"
            self.metrics.request(path, status, monotonic() - begin)

    def check(self, headers: dict[str, str]) -> None:
        """A page of another site can have its own name lead to this machine (DNS rebinding), and a browser then takes
        this server for that site: but it says the name."""
        name = host_of(headers.get("host", ""))
        if self.hosts is not None and name not in self.hosts:
            raise Refused(421, f"host {name!r}: this server is called {' or '.join(sorted(self.hosts))}")

    async def body(self, headers: dict[str, str], receive: Any) -> bytes:
        length = headers.get("content-length", "0")
        too_long = length.isdigit() and int(length) > self.most
        if too_long and "expect" in headers:  # the client waits for leave to send it
            raise Refused(413, self.too_long)
        parts, size = list[bytes](), 0
        try:
            async with asyncio.timeout(self.seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ConnectionError
                    size += len(message["body"])
                    if size <= self.most:
                        parts.append(message["body"])
                    else:
                        parts.clear()
                    if size > DRAINED or not message.get("more_body"):
                        break
        except TimeoutError:
            raise Refused(408, f"the body did not come in within {self.seconds:g} s (serve.time)") from None
        if size > self.most:
            raise Refused(413, self.too_long)
        return b"".join(parts)

    @property
    def too_long(self) -> str:
        return f"the body has more than {self.most:,} bytes (serve.body, in MiB)"


def host_of(host: str) -> str:
    """The name in a Host header, without the port."""
    return host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0].lower()


def replayed(body: bytes, receive: Any) -> Any:
    """What an application receives where its body has been read."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Any:
        return messages.pop() if messages else await receive()

    return again


async def refuse(refused: Refused, send: Any) -> None:
    content = json.dumps({"error": refused.problem}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send(
        {"type": "http.response.start", "status": refused.status, "headers": [*headers, (b"connection", b"close")]}
    )
    await send({"type": "http.response.body", "body": content})
