"""A TCP relay on loopback that can be shut or fall silent, and that counts plain HTTP requests.

What a half-open connection or a dead server looks like to its clients; used by tests and benchmarks.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self


class Relay:
    """Forwards TCP between a client and a server. Can fall silent without closing, and can be shut.

    A context manager; it serves from the constructor on.
    """

    def __init__(self, target: str) -> None:
        """Relay to `host:port` or `http[s]://host:port`."""
        host, _, port = target.removeprefix("http://").removeprefix("https://").partition(":")
        self._target = (host, int(port.split("/")[0]))
        self._silent: set[int] = set()
        self._connections: list[tuple[socket.socket, socket.socket]] = []
        self._ever: list[tuple[socket.socket, socket.socket]] = []
        self._threads: list[threading.Thread] = []
        self._all_silent = False
        self._lock = threading.Lock()
        self.requests: list[str] = []
        """Method and path of each plain HTTP request."""
        self.port = 0
        self.open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Where plain HTTP clients reach it."""
        return f"http://127.0.0.1:{self.port}"

    def open(self) -> None:
        """Listen, as at first or again on the same port."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        self._start(self._accept, self._listener)

    def shut(self) -> None:
        """Refuse connections, break those that stand."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for pair in self._drain():
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def fall_silent(self, *, new_ones_too: bool = False) -> None:
        """Drop what comes on standing connections, and close nothing."""
        with self._lock:
            self._all_silent = new_ones_too
            self._silent.update(id(pair) for pair in self._connections)

    def speak_again(self) -> None:
        """Forward what comes on new connections; those that fell silent stay so."""
        with self._lock:
            self._all_silent = False

    def count(self, method: str) -> int:
        """How many requests of that method came through."""
        return sum(line.startswith(method + " ") for line in self.requests)

    def close(self) -> None:
        """End it with all its connections and threads."""
        self.shut()
        for pair in self._ever:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(timeout=5)
        for pair in self._ever:
            for end in pair:
                end.close()

    def _start(self, work: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _drain(self) -> list[tuple[socket.socket, socket.socket]]:
        with self._lock:
            pairs, self._connections = self._connections, []
        return pairs

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            pair = (client, server)
            with self._lock:
                self._connections.append(pair)
                self._ever.append(pair)
                if self._all_silent:
                    self._silent.add(id(pair))
            for source, sink in (pair, pair[::-1]):
                self._start(self._pump, pair, source, sink)

    def _pump(
        self, pair: tuple[socket.socket, socket.socket], source: socket.socket, sink: socket.socket
    ) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if id(pair) in self._silent:
                    continue
                if source is pair[0]:
                    for found in re.findall(rb"^(GET|PUT|POST|DELETE) (\S+) HTTP", data, re.MULTILINE):
                        self.requests.append(" ".join(part.decode() for part in found))
                sink.sendall(data)
        if id(pair) not in self._silent:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
