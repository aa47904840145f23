import socket
from collections.abc import Iterator

import pytest

from e2e.cluster import control_plane
from e2e.cluster.control_plane import Component, ControlPlane


@pytest.fixture(scope="module")
def own_plane() -> Iterator[ControlPlane]:
    """One for this file, because its parts get hurt; every test leaves it serving."""
    with ControlPlane() as plane:
        yield plane
        directory = plane.directory
    assert not directory.exists()


def test_two_run_side_by_side_and_know_nothing_of_each_other(
    plane: ControlPlane, own_plane: ControlPlane, kubectl
) -> None:
    assert plane.server != own_plane.server
    kubectl(own_plane, "create", "namespace", "only-here")
    assert kubectl(own_plane, "get", "namespace", "only-here").returncode == 0
    assert "NotFound" in kubectl(plane, "get", "namespace", "only-here").stderr
    swapped = kubectl(plane, "--server", own_plane.server, "get", "namespaces")
    assert "certificate signed by unknown authority" in swapped.stderr


def test_a_restarted_api_server_keeps_port_and_objects(own_plane: ControlPlane, kubectl, eventually) -> None:
    kubectl(own_plane, "create", "configmap", "kept", "--from-literal=answer=42")
    before = own_plane.server, own_plane.component_pid(Component.API_SERVER)
    own_plane.restart_api_server()
    after = own_plane.server, own_plane.component_pid(Component.API_SERVER)
    assert after[0] == before[0] and after[1] != before[1]
    kept = kubectl(own_plane, "get", "configmap", "kept", "-o", "jsonpath={.data.answer}")
    assert kept.stdout == "42"
    kubectl(own_plane, "create", "namespace", "later")
    eventually(
        lambda: kubectl(own_plane, "get", "serviceaccount", "default", "-n", "later").returncode == 0,
        "the controller manager goes on with the restarted server",
    )


def test_a_killed_api_server_is_away_until_it_is_started_again(own_plane: ControlPlane) -> None:
    own_plane.kill_component(Component.API_SERVER)
    with pytest.raises(OSError, match="refused"):
        own_plane.client.request("GET", "/readyz")
    own_plane.start_component(Component.API_SERVER)
    assert own_plane.client.request("GET", "/readyz").status == 200


def test_a_port_that_was_stolen_meanwhile_is_given_up_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    find_free_port = control_plane.find_free_port
    with socket.socket() as thief:
        thief.bind(("127.0.0.1", 0))
        thief.listen()
        stolen = thief.getsockname()[1]
        offered = [stolen]
        monkeypatch.setattr(
            control_plane,
            "find_free_port",
            lambda address: offered.pop() if offered else find_free_port(address),
        )
        with ControlPlane() as plane:
            assert plane.server != f"https://127.0.0.1:{stolen}"
            assert plane.client.request("GET", "/readyz").status == 200
