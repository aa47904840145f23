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

    def __init__(
        self, *, port: int, authority: Path, certificate: Path, key: Path, address: str = "127.0.0.1"
    ) -> None:
        self._address = address
        self._port = port
        self._trust = ssl.create_default_context(cafile=str(authority))
        self._trust.load_cert_chain(certificate, key)

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
        connection = http.client.HTTPSConnection(
            self._address, self._port, context=self._trust, timeout=timeout_s
        )
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
            raise ConnectionError(
                f"the server at {self._address}:{self._port} broke off: {error!r}"
            ) from error
        finally:
            connection.close()
