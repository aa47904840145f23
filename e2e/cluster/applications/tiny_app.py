"""Applications that do nothing: for what is about who writes to Serve, and when."""

from typing import Any

from ray import serve
from ray.serve import Application


class Tiny:
    """A deployment that takes any configuration and always answers ok."""

    def reconfigure(self, config: dict[str, Any]) -> None:
        """Take any configuration."""

    def __call__(self) -> str:
        """Answer."""
        return "ok"


def build(args: dict[str, Any]) -> Application:
    """One replica of it, at no cost."""
    del args
    application: Application = serve.deployment(name="Tiny", ray_actor_options={"num_cpus": 0})(Tiny).bind()
    return application
