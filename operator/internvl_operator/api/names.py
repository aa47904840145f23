"""Names in Ray Serve and in Kubernetes that belong to one service. Nobody else builds such a name."""

from enum import StrEnum

from internvl_operator.api.keys import ServiceKey
from internvl_runtimes.contract import routes, serve_args


class Role(StrEnum):
    """A part of a service that has replicas of its own."""

    VISION = "vision"
    LANGUAGE = "language"
    GATEWAY = "gateway"


DEPLOYMENTS = {
    Role.VISION: serve_args.VISION_DEPLOYMENT,
    Role.LANGUAGE: serve_args.LANGUAGE_DEPLOYMENT,
    Role.GATEWAY: serve_args.GATEWAY_DEPLOYMENT,
}
"""The Serve deployment that holds a role's replicas."""


class House(StrEnum):
    """One of the two Ray clusters that a service may have in pods, by the end of its name.

    There is one of them, and during a change of the head both. Both ends are equally long, so that the longest name
    of a service is the same for both.
    """

    FIRST = "ray"
    SECOND = "alt"

    @property
    def other(self) -> "House":
        """The house that a service moves to from this one."""
        return House.SECOND if self is House.FIRST else House.FIRST


DASHBOARD_PORT = 8265
"""Of Ray's dashboard on the head."""
LONGEST_CLUSTER_NAME = 41
"""KubeRay takes 53, but may cut the name of the head's Service, `<cluster>-head-svc`, to 50."""


def ray_cluster(key: ServiceKey, house: House = House.FIRST) -> str:
    """Name of a RayCluster of the service, and of the Secret with its token, as KubeRay wants it."""
    return f"{key.name}-{house}"


def ray_clusters(key: ServiceKey) -> tuple[str, ...]:
    """Names of all RayClusters that the service may have."""
    return tuple(ray_cluster(key, house) for house in House)


def of_house(key: ServiceKey, part: str, house: House) -> str:
    """Name of another object that belongs to one Ray cluster of the service, such as a disruption budget."""
    name = f"{key.name}-{part}"
    return name if house is House.FIRST else f"{name}-{house}"


def head_address(key: ServiceKey, house: House = House.FIRST) -> str:
    """Address of the dashboard of a Ray cluster of the service's own; KubeRay names the Service."""
    return f"http://{ray_cluster(key, house)}-head-svc.{key.namespace}.svc:{DASHBOARD_PORT}"


def front(key: ServiceKey) -> str:
    """Name of the Kubernetes Service that clients call."""
    return key.name


def front_url(key: ServiceKey) -> str:
    """Where clients inside the cluster call the service; the port is the scheme's own."""
    return f"http://{front(key)}.{key.namespace}.svc"


def next_front(key: ServiceKey, house: House) -> str:
    """Name of the Kubernetes Service by which a Ray cluster is probed that clients are not sent to yet."""
    return f"{ray_cluster(key, house)}-next"


def next_url(key: ServiceKey, house: House) -> str:
    """Where that Service answers."""
    return f"http://{next_front(key, house)}.{key.namespace}.svc"


def scale_object(key: ServiceKey, role: Role) -> str:
    """Name of the object by which somebody else may own the number of a role's replicas."""
    return f"{key.name}-{role}"


def vision_application(key: ServiceKey) -> str:
    """Name of the Serve application with the vision encoder."""
    return f"{key.namespace}.{key.name}.vision"


def main_application(key: ServiceKey) -> str:
    """Name of the Serve application with the gateway and the language model."""
    return f"{key.namespace}.{key.name}"


def application(key: ServiceKey, role: Role) -> str:
    """Name of the Serve application that a role's deployment lives in."""
    return vision_application(key) if role is Role.VISION else main_application(key)


def applications(key: ServiceKey) -> tuple[str, str]:
    """The applications of a service at rest, in the order they are written."""
    return vision_application(key), main_application(key)


def stand_in(application: str) -> str:
    """Name of the stand-in of an application: it runs another model while a service goes over to that."""
    return f"{application}{serve_args.STAND_IN_SUFFIX}"


def stand_ins(key: ServiceKey) -> tuple[str, str]:
    """The stand-ins of a service's applications, which are there during a rollout only."""
    return stand_in(vision_application(key)), stand_in(main_application(key))


def all_applications(key: ServiceKey) -> tuple[str, ...]:
    """Every name in Serve that belongs to a service."""
    return (*applications(key), *stand_ins(key))


def route_prefix(key: ServiceKey) -> str:
    """Path of the service below Serve's HTTP address."""
    return f"/{key.namespace}/{key.name}"


def stand_in_path(path: str) -> str:
    """Path of the stand-in of what answers at `path`."""
    return f"{path.rstrip('/')}{routes.STAND_IN}"
