"""Free ports of loopback for the many parts of a Ray node. Called by `local_ray`."""

import contextlib
import random
import socket

LOWEST, HIGHEST = 20_000, 32_000
"""Above Ray's worker ports, below those that the kernel gives to outgoing connections: between the choice and the
start of the program that listens there, nothing else on the machine takes one of these by chance."""
_LOWEST_METRICS, _HIGHEST_METRICS = 9_100, 10_000
"""Ray refuses metrics ports in its own worker range, 10002 to 19999, and KubeRay's place is 8080."""


class FreePorts:
    """Gives each port once. Choosing them one by one would give some twice, as none is listened on yet."""

    def __init__(self, rng: random.Random | None = None) -> None:
        """Give ports.

        Args:
            rng: the order of the choice; when None a fresh one, so that clusters side by side rarely meet.
        """
        self._rng = rng or random.Random()  # noqa: S311 - not a secret
        self._given: set[int] = set()

    def take(self) -> int:
        """A port that nobody listens on now and that was not given before.

        Raises:
            OSError: the whole range is taken.
        """
        return self._take(range(LOWEST, HIGHEST))

    def take_for_metrics(self) -> int:
        """The same, where Ray allows its metrics exporters."""
        return self._take(range(_LOWEST_METRICS, _HIGHEST_METRICS))

    def _take(self, among: range) -> int:
        for port in self._rng.sample(among, len(among)):
            if port not in self._given and _is_free(port):
                self._given.add(port)
                return port
        raise OSError(f"no port of 127.0.0.1 from {among.start} to {among.stop - 1} is free")


def _is_free(port: int) -> bool:
    with contextlib.closing(socket.socket()) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
