"""A Redis on the bridge that pods reach, and the operator told of it."""

import os
import secrets
import shutil
from contextlib import ExitStack
from pathlib import Path

from e2e.cluster.nodes.plan import BRIDGE_ADDRESS
from e2e.platform.world import NAMESPACE, World
from e2e.setup.cache import Cache
from e2e.setup.tools import install_packages

PORT = 6379
SECRET = "redis"
# Debian's server is this program under another name; its own package would start a daemon.
_PROGRAM = "/usr/bin/redis-check-rdb"


def with_redis(world: World, back: ExitStack) -> None:
    """Start it and make the service anew with it; `back` undoes both."""
    if not Path(_PROGRAM).exists():
        install_packages(
            ["redis-tools"], missing="there is no Redis", remedy="", cache=Cache.from_environment()
        )
    folder = world.cluster.directory / "redis"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    program = folder / "redis-server"
    program.symlink_to(_PROGRAM)
    password = secrets.token_hex(16)
    configuration = folder / "redis.conf"
    configuration.touch(mode=0o600)
    configuration.write_text(
        f"bind {BRIDGE_ADDRESS}\nport {PORT}\nrequirepass {password}\nsave ''\ndir {folder}\n"
    )
    keeper = world.cluster.plane.keeper
    keeper.start(
        "redis",
        [str(program), str(configuration)],
        log=world.cluster.logs / "redis.log",
        environment={"PATH": os.defpath},
    )
    back.callback(keeper.kill, "redis")
    world.cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": SECRET, "namespace": NAMESPACE},
            "stringData": {"password": password},
        }
    )
    back.callback(world.kubectl, "-n", NAMESPACE, "delete", "secret", SECRET)
    redis = {"address": f"redis://{BRIDGE_ADDRESS}:{PORT}", "passwordSecret": {"name": SECRET}}
    world.delete()
    world.install(gcs={"redis": redis})
    back.callback(world.install)
    back.callback(world.delete)
