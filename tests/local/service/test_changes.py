"""A change touches what it names and nothing else."""

from tests.local.service.world import Service, World, condition, is_observed

ROLES = ("VisionEncoder", "LanguageModel", "Gateway")


def replicas(world: World, name: str) -> dict[str, frozenset[str]]:
    return {role: world.replicas(name, role) for role in ROLES}


def language_is_ready(service: Service) -> bool:
    return is_observed(service) and condition(service, "LanguageReady")["status"] == "True"


def test_a_change_of_the_language_block_restarts_no_vision_replica(world: World, main_service: str) -> None:
    world.wait_ready(main_service)
    before = replicas(world, main_service)
    world.apply(main_service, language={"cpu": "600m"})
    world.wait(main_service, language_is_ready, "LanguageReady of the new spec")
    after = replicas(world, main_service)
    url = world.wait_ready(main_service)["status"]["url"]
    assert after["LanguageModel"].isdisjoint(before["LanguageModel"]), "LanguageReady spoke of the old ones"
    assert after["VisionEncoder"] == before["VisionEncoder"]
    assert after["Gateway"] == before["Gateway"]
    assert world.answers_rightly(url)


def test_a_change_of_the_vision_block_restarts_no_language_replica(world: World, main_service: str) -> None:
    world.wait_ready(main_service)
    before = replicas(world, main_service)
    world.apply(main_service, vision={"cpu": "600m"})
    world.wait_ready(main_service)
    after = replicas(world, main_service)
    assert after["VisionEncoder"].isdisjoint(before["VisionEncoder"])
    assert after["LanguageModel"] == before["LanguageModel"]


def test_limits_change_in_place_and_two_services_do_not_disturb_each_other(
    world: World, main_service: str
) -> None:
    world.wait_ready(main_service)
    before = replicas(world, main_service)
    world.apply("second", vision={"maxTilesPerImage": 2}, language={"maxModelLen": 512})
    try:
        second = world.wait_ready("second")
        started = replicas(world, "second")
        world.apply("second", vision={"maxTilesPerImage": 4}, language={"maxModelLen": 600})
        second = world.wait_ready("second")
        assert replicas(world, "second") == started
        assert world.answers_rightly(second["status"]["url"])
        assert second["status"]["url"] != world.get(main_service)["status"]["url"]
    finally:
        world.delete("second")
    assert replicas(world, main_service) == before
    assert world.replicas("second", "VisionEncoder") == frozenset()
