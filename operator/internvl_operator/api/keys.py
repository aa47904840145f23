"""The identity of one InternVLService: one frozen type with one string form, never two bare strings."""

import re
from dataclasses import dataclass

from internvl_operator.errors import Rejected

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True, order=True)
class ServiceKey:
    """Namespace and name of a service, both DNS labels.

    A name with a dot is refused (by the CRD too): `a.vision` would own the vision application of `a`.
    """

    namespace: str
    name: str

    def __post_init__(self) -> None:
        for field, value in (("metadata.namespace", self.namespace), ("metadata.name", self.name)):
            if not _LABEL.fullmatch(value):
                raise Rejected(
                    f"{value!r} must be at most 63 of a-z, 0-9 and '-', without a dot; choose another name",
                    field=field,
                )

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def parse_service_key(text: str) -> ServiceKey:
    """Parse `namespace/name`, the inverse of `str(key)`.

    Raises:
        Rejected: the text is of another form.
    """
    namespace, slash, name = text.partition("/")
    if not slash:
        raise Rejected(f"{text!r} is not of the form namespace/name")
    return ServiceKey(namespace, name)
