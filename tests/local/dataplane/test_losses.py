"""What is lost between the sides is made again, and the answer is the right one."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

from internvl_runtimes.contract import serve_args
from tests.local.dataplane.service import (
    SERVICE_APPLICATION,
    VISION_APPLICATION,
    Service,
    Stopped,
    eventually,
    picture,
    question,
    right_answers,
)
from tests.local.dataplane.test_answers import text_of

REENCODES = "ray_internvl_reencodes_total"


def stored(service: Service, node: str) -> float:
    """Bytes in a node's object store, as it last exported them."""
    return service.metric(node, "ray_object_store_used_memory") or 0.0


def settled_store(service: Service, *nodes: str) -> float:
    """The sum over the nodes, when what was left there is freed and exported as freed."""
    readings: list[float] = []

    def unchanged_for_three_seconds() -> bool:
        readings.append(sum(stored(service, node) for node in nodes))
        return len(readings) > 30 and len(set(readings[-30:])) == 1

    eventually(f"the object store of {' and '.join(nodes)} to come to rest", unchanged_for_three_seconds)
    return readings[-1]


def test_large_features_lie_in_the_object_store_of_the_vision_node_and_survive_its_replica(
    service: Service, large_picture: bytes
) -> None:
    body = question(large_picture)
    [right] = right_answers(service.checkpoint, [body])
    language = service.replica_pid(SERVICE_APPLICATION, serve_args.LANGUAGE_DEPLOYMENT)
    vision = service.replica_pid(VISION_APPLICATION, serve_args.VISION_DEPLOYMENT)
    before = settled_store(service, "vision")
    reencoded = service.metric("head", REENCODES) or 0.0
    with ThreadPoolExecutor() as pool, Stopped(language):
        answer = pool.submit(service.ask, body)
        eventually(
            "the features to lie in the vision node's store",
            lambda: stored(service, "vision") - before > 100 * 1024,
        )
        os.kill(vision, signal.SIGKILL)
        eventually(
            "Serve to replace the vision replica",
            lambda: _other_vision_pid(service, vision),
        )
        os.kill(language, signal.SIGCONT)
        assert text_of(answer.result()) == right
    assert (service.metric("head", REENCODES) or 0.0) == reencoded


def test_features_are_freed_when_their_answer_is_given(service: Service, large_picture: bytes) -> None:
    before = settled_store(service, "vision", "language")
    for _ in range(6):
        assert service.ask(question(large_picture)).status_code == 200
    # From rest to rest: an early look would see what was exported before the features came.
    eventually(
        "the features to be freed",
        lambda: settled_store(service, "vision", "language") - before < 2 * 100 * 1024,
    )


def test_a_vision_replica_killed_while_it_encodes_costs_nothing_but_time(service: Service) -> None:
    body = question(picture(21))
    [right] = right_answers(service.checkpoint, [body])
    before = service.metric("head", REENCODES) or 0.0
    vision = service.replica_pid(VISION_APPLICATION, serve_args.VISION_DEPLOYMENT)
    with ThreadPoolExecutor() as pool:
        with Stopped(vision):
            answer = pool.submit(service.ask, body)
            eventually("the request to be admitted", lambda: not answer.done() and _admitted(service))
            os.kill(vision, signal.SIGKILL)
        assert text_of(answer.result()) == right
    eventually("the loss to be counted", lambda: (service.metric("head", REENCODES) or 0.0) >= before)


def test_a_vision_node_that_dies_between_encode_and_fetch_is_encoded_again(
    service: Service, large_picture: bytes
) -> None:
    body = question(large_picture, large_picture)
    [right] = right_answers(service.checkpoint, [body])
    language = service.replica_pid(SERVICE_APPLICATION, serve_args.LANGUAGE_DEPLOYMENT)
    store = settled_store(service, "vision")
    before = service.metric("head", REENCODES) or 0.0
    with ThreadPoolExecutor() as pool:
        with Stopped(language):
            answer = pool.submit(service.ask, body)

            def in_store() -> bool:
                assert not answer.done(), f"answered although nobody can: {answer.result().text}"
                return stored(service, "vision") - store > 200 * 1024

            eventually("the features to lie in the vision node's store", in_store)
            service.nodes.kill("vision")
        service.nodes.restart("vision")
        assert text_of(answer.result()) == right
    eventually("the loss to be counted", lambda: (service.metric("head", REENCODES) or 0.0) > before)


def _other_vision_pid(service: Service, old: int) -> bool:
    try:
        return service.replica_pid(VISION_APPLICATION, serve_args.VISION_DEPLOYMENT) != old
    except (KeyError, StopIteration):
        return False


def _admitted(service: Service) -> bool:
    return (service.metric("head", "ray_internvl_tiles_admitted_total") or 0.0) > 0
