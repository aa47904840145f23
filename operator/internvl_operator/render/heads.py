"""Ray's head: what people decide about it. Another head means another Ray cluster, because KubeRay replaces none.

As with worker groups, the hash is over what people decide, not over the rendered template: a newer operator that
renders a head otherwise moves nothing, and a head that is made later gets the newer form.
"""

import hashlib
from dataclasses import dataclass

from internvl_operator.api.pods import Placement, PodSettings, RedisSettings
from internvl_operator.render.serve_schema import encode_json
from internvl_runtimes.contract import pods


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadShape:
    """What people decide about a head; equal shapes need no other Ray cluster."""

    image: str
    image_pull_secrets: tuple[str, ...]
    ray_version: str
    placement: Placement
    """With the head's sizes."""
    redis: RedisSettings | None

    @property
    def digest(self) -> str:
        """A hash of it."""
        facts = {
            "image": self.image,
            "secrets": self.image_pull_secrets,
            "ray": self.ray_version,
            "pod": self.placement.model_dump(mode="json", exclude_defaults=True),
            "redis": None if self.redis is None else self.redis.model_dump(mode="json"),
        }
        return hashlib.sha256(encode_json(facts).encode()).hexdigest()[:12]


def head_shape(settings: PodSettings) -> HeadShape:
    """The head that the administrator asks for."""
    return HeadShape(
        image=settings.image,
        image_pull_secrets=settings.image_pull_secrets,
        ray_version=pods.RAY_VERSION,
        placement=settings.head,
        redis=settings.gcs.redis,
    )
