import re
from pathlib import Path

from e2e.cluster import commands
from e2e.cluster.binaries import Binaries

BINARIES = Binaries(Path("/bin/etcd"), Path("/bin/kube-apiserver"), Path("/bin/kube-controller-manager"))
LAYOUT = commands.Layout(Path("/tmp/plane"))


def test_etcd_listens_on_no_port() -> None:
    listens = [flag for flag in commands.etcd_command(BINARIES, LAYOUT) if flag.startswith("--listen-")]
    assert listens == [
        "--listen-client-urls=unix:///tmp/plane/etcd.sock",
        "--listen-peer-urls=unix://peer.sock",
    ]


def test_the_api_server_listens_on_loopback_only_and_asks_rbac() -> None:
    command = commands.kube_apiserver_command(BINARIES, LAYOUT, port=25_000)
    assert {"--bind-address=127.0.0.1", "--secure-port=25000", "--authorization-mode=RBAC"} <= set(command)
    addresses = {word for flag in command for word in re.findall(r"\d+\.\d+\.\d+\.\d+", flag)}
    assert addresses == {"127.0.0.1", "10.211.0.0"}


def test_the_controller_manager_listens_on_no_port() -> None:
    command = commands.kube_controller_manager_command(BINARIES, LAYOUT, kubeconfig=Path("/tmp/k"))
    assert "--secure-port=0" in command


def test_every_file_lies_in_the_directory_that_is_removed() -> None:
    command = commands.kube_apiserver_command(BINARIES, LAYOUT, port=25_000)
    files = [flag.partition("=")[2] for flag in command if re.match(r"--\S+-file=", flag)]
    assert len(files) == 5
    assert all(file.startswith("/tmp/plane/") for file in files)
