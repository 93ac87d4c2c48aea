"""mode=serve: a trained model as a web service."""

from __future__ import annotations

import ipaddress
import logging
import signal
import socket
from errno import EADDRINUSE
from pathlib import Path
from typing import Any

from seqtrain.commands.assembly import Config
from seqtrain.commands.loaded import Loaded
from seqtrain.config import UserError

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
BACKLOG = 1024  # connections that wait to be accepted

log = logging.getLogger(__name__)


def serve(cfg: Config, checkpoint: Path) -> None:
    """Answers requests until a signal comes: then no new ones are taken, and those that are there are answered."""
    try:
        import uvicorn

        from seqtrain.serving.answers import Answers
        from seqtrain.serving.api import make_app
    except ModuleNotFoundError as error:
        raise UserError(f"mode=serve needs the package {error.name}: pip install 'seqtrain[serve]'") from None

    settings = cfg["serve"]
    with listening(settings["host"], settings["port"]) as listener:
        host, port, *_ = listener.getsockname()
        alone = ipaddress.ip_address(host).is_loopback
        app = make_app(Answers(Loaded(cfg, checkpoint)), settings, names(host) if alone else None)
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            ws="none",
            limit_concurrency=settings["queue"] + BACKLOG,
            timeout_graceful_shutdown=round(settings["time"]) + 5,
        )
        server = uvicorn.Server(config)

        def stop(number: int, frame: Any) -> None:
            server.should_exit = True

        for (
            number
        ) in STOPS:  # uvicorn takes two of them over while it runs, and sends itself what came when it has ended
            if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
                signal.signal(number, stop)
        log.info("%s answers at http://%s:%d; Ctrl-C stops it", checkpoint, f"[{host}]" if ":" in host else host, port)
        if not alone:
            log.warning(
                "serve.host=%s: whoever reaches this machine can use it; there is no password", settings["host"]
            )
        server.run(sockets=[listener])
        log.info("stopped; what was asked is answered")


def names(host: str) -> tuple[str, ...]:
    """How a server on this loopback address may be called."""
    own = f"[{host}]" if ":" in host else host
    return tuple(dict.fromkeys(["localhost", "127.0.0.1", "[::1]", own]))


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises `UserError`."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        cure = "; serve.port=0 takes a free one" if error.errno == EADDRINUSE else ""
        raise UserError(
            f"serve.host={host} serve.port={port}: {str(error.strerror).partition(' (')[0]}{cure}"
        ) from None
