"""A page on this machine alone, for a browser on it."""

from __future__ import annotations

import errno
import functools
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pair_fld.errors import PairError

HOST = "127.0.0.1"


class _Handler(SimpleHTTPRequestHandler):
    # not the system's table: that may call a script plain text, which browsers do not run
    extensions_map = {  # noqa: RUF012 (as the base class has it)
        "": "application/octet-stream", ".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8",
        ".js": "text/javascript; charset=utf-8", ".json": "application/json", ".wasm": "application/wasm",
        ".svg": "image/svg+xml", ".txt": "text/plain; charset=utf-8",
    }  # fmt: skip

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-cache")  # the folder may be written anew
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def open_server(folder: Path, port: int = 0) -> ThreadingHTTPServer:
    """A server of a folder, to be run by `serve_forever`; port 0: any free one. PairError when the port is in use."""
    try:
        return ThreadingHTTPServer((HOST, port), functools.partial(_Handler, directory=str(folder)))
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        message = f"--port: {port} cannot be opened ({error.strerror})."
        raise PairError("--port", message=message, remedy="Leave --port out.") from None


def address(server: ThreadingHTTPServer) -> str:
    """What a browser opens. `localhost` counts as secure, which a camera asks for."""
    return f"http://localhost:{server.server_port}/"
