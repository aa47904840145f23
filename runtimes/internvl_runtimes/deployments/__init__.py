"""The three deployments as plain classes, tested without Ray: gateway, vision encoder, language model.

Nothing here imports Ray at module level; `internvl_runtimes.app` decorates the classes and hands them what
reaches other replicas (`handles`) and where measurements go (`metrics`).
"""
