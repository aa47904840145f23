"""A few plain requests to the API server, for waiting and for making users; standard library only."""

from __future__ import annotations

import http.client
import json
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TIMEOUT_S = 5.0


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

    def __init__(self, *, port: int, authority: Path, certificate: Path, key: Path) -> None:
        self._port = port
        self._trust = ssl.create_default_context(cafile=str(authority))
        self._trust.load_cert_chain(certificate, key)

    def request(self, method: str, path: str, body: object | None = None) -> Answer:
        """Send one request.

        Raises:
            OSError: The server cannot be reached.
        """
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self._port, context=self._trust, timeout=_TIMEOUT_S
        )
        try:
            connection.request(
                method,
                path,
                body=None if body is None else json.dumps(body),
                headers={"Content-Type": "application/json", "Accept": "application/json"},
            )
            response = connection.getresponse()
            return Answer(response.status, response.read().decode(errors="replace"))
        except http.client.HTTPException as error:
            raise ConnectionError(f"the server at port {self._port} broke off: {error!r}") from error
        finally:
            connection.close()
