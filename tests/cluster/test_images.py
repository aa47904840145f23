import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from e2e.cluster.nodes.node_cluster import NodeCluster
from e2e.images.build import ROOT, RUNTIME, ensure_image
from e2e.images.layout import Image
from e2e.setup.cache import Cache

pytestmark = pytest.mark.usefixtures("own_nodes")


def copy_inputs(root: Path) -> None:
    """A checkout with nothing but what the image is made from."""
    for name in ("pyproject.toml", "constraints.txt", ".dockerignore", RUNTIME.dockerfile, *RUNTIME.code):
        source, target = ROOT / name, root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)


def test_a_change_of_code_reaches_the_nodes_without_the_layers_below_it(
    cluster: NodeCluster,
    get: Callable[[str], dict[str, Any]],
    namespace: str,
    run_pod: Callable[..., None],
    runtime_image: Image,
    kubectl: Callable[..., str],
    tmp_path: Path,
) -> None:
    copy_inputs(tmp_path)
    mark = str(uuid4())
    began = time.monotonic()
    (tmp_path / "runtimes/internvl_runtimes/mark.py").write_text(f"MARK = {mark!r}\n")
    image = ensure_image(RUNTIME, cache=Cache.from_environment(), root=tmp_path)
    assert image != runtime_image
    cluster.load_image(image)
    took_s = time.monotonic() - began
    print(f"a change of code reached the nodes after {took_s:.1f} s")
    assert took_s < 120, "the layers below it, made or sent again, would take minutes"

    words = ("python", "-c", "from internvl_runtimes.mark import MARK; print(MARK)")
    for pool in ("cpu", "vision", "language"):
        run_pod(f"on-{pool}", *words, pool=pool, image=image, once=True)
    for pool in ("cpu", "vision", "language"):
        path = f"/api/v1/namespaces/{namespace}/pods/on-{pool}"
        cluster.wait_for(
            f"the pod on {pool} started", lambda path=path: get(path)["status"]["phase"] != "Pending"
        )
        cluster.wait_for(
            f"the pod on {pool} said something",
            lambda pool=pool: kubectl("logs", "-n", namespace, f"on-{pool}") != "",
        )
        assert kubectl("logs", "-n", namespace, f"on-{pool}").strip().splitlines()[-1] == mark


def test_the_runtime_image_has_ray_onnx_runtime_and_the_command_that_seals_and_no_torch(
    cluster: NodeCluster,
    get: Callable[[str], dict[str, Any]],
    namespace: str,
    run_pod: Callable[..., None],
    runtime_image: Image,
    kubectl: Callable[..., str],
) -> None:
    code = (
        "import importlib.util as u, os, pwd; import internvl_runtimes.app, internvl_engines.store.local; "
        "print([name for name in ('ray', 'onnxruntime', 'torch', 'internvl_operator') if u.find_spec(name)], "
        "pwd.getpwuid(os.getuid()).pw_name, os.getcwd())"
    )
    seal = "python -m internvl_engines seal /nowhere 2>&1"
    run_pod("looks", "sh", "-c", f'{seal}; python -c "{code}"', pool="cpu", image=runtime_image, once=True)
    path = f"/api/v1/namespaces/{namespace}/pods/looks"
    cluster.wait_for(
        "the pod ended", lambda: get(path).get("status", {}).get("phase") in ("Succeeded", "Failed")
    )
    refused, said = kubectl("logs", "-n", namespace, "looks").strip().splitlines()[-2:]
    assert "There is no checkpoint folder /nowhere" in refused
    assert said == "['ray', 'onnxruntime'] ray /home/ray"
