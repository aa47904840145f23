import base64
import stat
from pathlib import Path

import yaml

from e2e.cluster.certificates import Pair
from e2e.cluster.kubeconfig import write_kubeconfig


def test_the_file_holds_everything_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = write_kubeconfig(
        tmp_path / "kubeconfigs/ada",
        server="https://127.0.0.1:25000",
        authority=b"authority",
        user="ada",
        credentials=Pair(b"certificate", b"key"),
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    document = yaml.safe_load(path.read_text())
    assert document["clusters"][0]["cluster"] == {
        "server": "https://127.0.0.1:25000",
        "certificate-authority-data": base64.b64encode(b"authority").decode(),
    }
    assert document["users"][0]["user"] == {
        "client-certificate-data": base64.b64encode(b"certificate").decode(),
        "client-key-data": base64.b64encode(b"key").decode(),
    }
    context = document["contexts"][0]
    assert document["current-context"] == context["name"]
    assert context["context"] == {"cluster": "internvl-local", "user": "ada", "namespace": "default"}


def test_a_token_stands_in_place_of_a_certificate(tmp_path: Path) -> None:
    path = write_kubeconfig(
        tmp_path / "operator", server="https://127.0.0.1:1", authority=b"", user="u", credentials="abc"
    )
    assert yaml.safe_load(path.read_text())["users"][0]["user"] == {"token": "abc"}
