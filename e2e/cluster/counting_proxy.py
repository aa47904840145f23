"""A reverse proxy on loopback that counts requests by method: what does the operator ask of Ray?"""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

_HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "host", "keep-alive", "date", "server"}


class CountingProxy:
    """Forward everything to `target`; `counts` has the number of requests by method. A context manager."""

    def __init__(self, target: str, *, timeout_s: float = 60.0) -> None:
        """Bind a free port; requests are served from `__enter__` on."""
        self.counts: Counter[str] = Counter()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self) -> None:
                proxy.counts[self.command] += 1
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP_BY_HOP}
                request = urllib.request.Request(
                    target + self.path, data=body or None, headers=headers, method=self.command
                )
                try:
                    with urllib.request.urlopen(request, timeout=timeout_s) as answer:
                        self._reply(answer.status, answer.headers.items(), answer.read())
                except urllib.error.HTTPError as error:
                    self._reply(error.code, error.headers.items(), error.read())
                except OSError:
                    self.close_connection = True

            do_GET = do_PUT = do_POST = do_DELETE = forward  # noqa: N815 - http.server's names

            def _reply(self, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None:
                self.send_response(status)
                for name, value in headers:
                    if name.lower() not in _HOP_BY_HOP:
                        self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
