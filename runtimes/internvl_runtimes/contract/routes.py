"""Paths of the gateway, below the service's route prefix."""

CHAT_COMPLETIONS = "/v1/chat/completions"
MODELS = "/v1/models"
HEALTHZ = "/healthz"
READYZ = "/readyz"
STAND_IN = "/-/next"
"""Below it the stand-in's gateway answers, while a service goes over to another model."""
PROBE = "/-/probe"
"""The semantic probe: two small pictures through vision, one through language. Used by the operator.
At most one runs at a time and its last answer is reused for a second, so it cannot be used as a load."""
WITHOUT_VISION = "without=vision"
"""Query of the probe while vision is to have no replica: a picture would start one. Then language is asked alone."""
PROBE_WITHOUT_VISION = f"{PROBE}?{WITHOUT_VISION}"
