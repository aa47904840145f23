"""Applications that do nothing: for tests about who writes what."""

from ray import serve


@serve.deployment(ray_actor_options={"num_cpus": 0})
class Tiny:
    def reconfigure(self, config: dict) -> None:
        pass

    def __call__(self) -> str:
        return "ok"


def build(args: dict) -> serve.Application:
    return Tiny.bind()
