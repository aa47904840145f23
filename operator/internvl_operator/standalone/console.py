"""What `internvl up` prints: conditions as they change, the URL, and a request that is ready to paste."""

import json
import shlex
from collections.abc import Callable
from datetime import datetime

from internvl_operator.api.conditions import ConditionStatus, ConditionType, Reason
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.names import Role
from internvl_operator.api.status import Status
from internvl_operator.scaling.model import SIDES
from internvl_runtimes.contract import routes


class Console:
    """Prints lines with the time of day. Several services: each line names its own."""

    def __init__(self, write: Callable[[str], object], *, now: Callable[[], datetime]) -> None:
        self._write = write
        self._now = now
        self._ready: set[ServiceKey] = set()

    def say(self, text: str) -> None:
        """One line."""
        self._write(f"{self._now():%H:%M:%S}  {text}")

    def show(self, key: ServiceKey, before: Status | None, after: Status) -> None:
        """Print the conditions that differ from before, and why a number of replicas changed."""
        for condition in after.conditions:
            old = before.condition(condition.type) if before else None
            said = (condition.status, condition.reason, condition.message)
            if old is None or (old.status, old.reason, old.message) != said:
                self.say(
                    f"{key}  {condition.type.value:<13} {condition.status.value:<7} "
                    f"{condition.reason.value:<24} {condition.message}"
                )
        for role in SIDES:
            told = () if before is None else before.roles.of(role).last_scaling or ()
            news = [step for step in after.roles.of(role).last_scaling or () if step not in told]
            for step in reversed(news):
                self.say(f"{key}  {step.why}")
            self._show_recommended(key, role, before, after)
        ready = after.condition(ConditionType.READY)
        if ready is None or ready.status is not ConditionStatus.TRUE:
            self._ready.discard(key)
        elif key not in self._ready and after.url is not None:
            self._ready.add(key)
            self.say(f"{key}  answers at {after.url}")
            self._write(f"\n{curl_line(after)}\n")

    def _show_recommended(self, key: ServiceKey, role: Role, before: Status | None, after: Status) -> None:
        """A number that is decided and not written is no change, and would be told nowhere."""
        active = after.condition(ConditionType.SCALING_ACTIVE)
        if active is None or active.reason is not Reason.RECOMMENDED_ONLY:
            return
        old = None if before is None else before.roles.of(role).target
        new = after.roles.of(role)
        if new.target != old:
            self.say(f"{key}  recommended, not written: {new.why}")


def curl_line(status: Status) -> str:
    """A command that asks the service something."""
    body = {
        "model": status.model.name if status.model else "",
        "messages": [{"role": "user", "content": "Hello"}],
        "max_tokens": 32,
    }
    url = shlex.quote(f"{status.url}{routes.CHAT_COMPLETIONS}")
    return f"curl -s {url} -H 'Content-Type: application/json' -d {shlex.quote(json.dumps(body))}"
