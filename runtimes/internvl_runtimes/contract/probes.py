"""The answer of the gateway's semantic probe, read by the operator."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class RoleAnswer(BaseModel):
    """What one side said during the probe."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    ok: bool
    generation: str = ""
    """Generation of the replica that answered; empty when none did."""
    revision: str = ""
    """Digest of the checkpoint that this replica has loaded."""
    error: str = ""
    """One sentence, empty when `ok`."""
    busy: bool = False
    """Nothing but time or room was missing: no answer came in time, or it was refused because too much waits."""
    seconds: Annotated[float, Field(ge=0)] = 0.0


class ProbeAnswer(BaseModel):
    """Body of `GET <prefix>/-/probe`; status 200 when `ok`, else 503."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    ok: bool
    gateway: RoleAnswer
    vision: RoleAnswer | None = None
    """None: it was not asked, because it has no replica."""
    language: RoleAnswer
    features_differ: bool = False
    """Two different pictures gave different features (a vision side that ignores its input does not)."""
    text: str = ""
    """What the language side said about the probe's picture: for people, not compared."""
