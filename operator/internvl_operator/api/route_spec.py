"""`spec.gateway.route` and `spec.gateway.ingress`: how clients outside the cluster reach the service."""

from typing import Annotated

from pydantic import Field

from internvl_operator.api.patterns import HOST_PATTERN, OBJECT_NAME_PATTERN
from internvl_operator.api.wire import Wire

ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=OBJECT_NAME_PATTERN)]
Host = Annotated[str, Field(max_length=253, pattern=HOST_PATTERN)]


class ParentRef(Wire):
    """A Gateway."""

    name: Annotated[ObjectName, Field(description="Name of the Gateway.")]
    namespace: Annotated[
        ObjectName | None,
        Field(
            description="Namespace of the Gateway, which must admit routes of ours. Left out: the service's."
        ),
    ] = None
    section_name: Annotated[
        ObjectName | None, Field(description="Name of one of its listeners. Left out: all that fit.")
    ] = None


class HttpRouteSpec(Wire):
    """An HTTPRoute of the Gateway API. TLS is the Gateway's."""

    parent_refs: Annotated[
        tuple[ParentRef, ...],
        Field(min_length=1, max_length=8, description="The Gateways that take requests for the service."),
    ]
    hostnames: Annotated[
        tuple[Host, ...] | None,
        Field(max_length=16, description="Names that clients call. Left out: those of the listeners."),
    ] = None


class IngressSpec(Wire):
    """An Ingress."""

    host: Annotated[Host, Field(description="Name that clients call.")]
    class_name: Annotated[
        ObjectName | None, Field(description="Its IngressClass. Left out: the cluster's default.")
    ] = None
    tls_secret_name: Annotated[
        ObjectName | None,
        Field(description="Secret beside the service with the certificate of the host. Left out: no TLS."),
    ] = None
