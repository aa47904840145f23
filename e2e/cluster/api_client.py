"""A few plain requests to the API server, for waiting and for making users; standard library only."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and body of one answer."""

    status: int
    text: str

    @property
    def document(self) -> dict[str, Any]:
        """The body as a JSON object."""
        document = json.loads(self.text)
        assert isinstance(document, dict)
        return document


class ApiClient:
    """One connection a request: it must notice a server that came back under the same port."""

    def __init__(self, server: str, connect: Callable[[float], http.client.HTTPConnection]) -> None:
        """`server` is for messages; `connect` makes a connection with that timeout in seconds."""
        self._server = server
        self._connect = connect

    @classmethod
    def with_certificate(
        cls, *, port: int, authority: Path, certificate: Path, key: Path, address: str = "127.0.0.1"
    ) -> ApiClient:
        """As the user of a client certificate."""
        trust = ssl.create_default_context(cafile=str(authority))
        trust.load_cert_chain(certificate, key)

        def connect(timeout_s: float) -> http.client.HTTPConnection:
            return http.client.HTTPSConnection(address, port, context=trust, timeout=timeout_s)

        return cls(f"{address}:{port}", connect)

    @classmethod
    def through_socket(cls, path: Path) -> ApiClient:
        """As whoever `kubectl proxy --unix-socket` asks for."""
        return cls(str(path), lambda timeout_s: _SocketConnection(path, timeout_s))

    def request(
        self,
        method: str,
        path: str,
        body: object | None = None,
        *,
        content_type: str = "application/json",
        timeout_s: float = _TIMEOUT_S,
    ) -> Answer:
        """Send one request.

        Args:
            method: `GET`, `PATCH`, ...
            path: With its query, from the slash on.
            body: Sent as JSON.
            content_type: Says which kind of patch the body is.
            timeout_s: For each step of the exchange.

        Raises:
            OSError: The server cannot be reached.
        """
        connection = self._connect(timeout_s)
        try:
            connection.request(
                method,
                path,
                body=None if body is None else json.dumps(body),
                headers={"Content-Type": content_type, "Accept": "application/json"},
            )
            response = connection.getresponse()
            return Answer(response.status, response.read().decode(errors="replace"))
        except http.client.HTTPException as error:
            raise ConnectionError(f"the server at {self._server} broke off: {error!r}") from error
        finally:
            connection.close()


class _SocketConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
