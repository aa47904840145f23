"""While the model is changed: each answer is made by one model, on the service's own sides or their stand-in."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from internvl_runtimes.deployments.admission import Admission
from internvl_runtimes.deployments.gateway import DEADLINE_S, HOLD_S, Gateway, Sides
from internvl_runtimes.deployments.handles import Lost
from internvl_runtimes.deployments.language_model import LanguageModel, LoadedLanguage
from internvl_runtimes.deployments.vision_encoder import LoadedVision, VisionEncoder
from internvl_runtimes.preprocess.prompt import Prompter
from internvl_runtimes.protocol.handover import EncodeRequest, GenerateRequest, ModelDiffers, Sampling
from internvl_runtimes.protocol.problems import RoleUnavailable
from tests.unit.internvl_runtimes.deployments.fakes import (
    MODEL,
    OTHER_MODEL,
    REVISION,
    Clock,
    FakeLanguage,
    FakeSides,
    FakeVision,
    Recorded,
    answer,
    checkpoint_config,
    data_url,
    gateway_config,
    language_config,
    png,
    vision_config,
)

DIFFERS = ModelDiffers("another model")


class Setting:
    """A gateway over its own sides and a stand-in."""

    def __init__(self, prompter: Prompter, own: FakeSides, stand_in: FakeSides | None = None) -> None:
        self.own, self.stand_in, self.clock = own, stand_in, Clock()
        self.pauses: list[float] = []
        self.between: Callable[[], Any] = lambda: None
        self.gateway = Gateway(
            vision=lambda _: own,
            language=own,
            stand_in=lambda _: None if stand_in is None else Sides(stand_in, stand_in),
            recorder=Recorded(),
            load=lambda config: Admission(config, checkpoint_config(), prompter),
            clock=self.clock,
            pause=self._pause,
        )

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await self.clock.pause(seconds)
        waited = self.between()
        if waited is not None:
            await waited

    async def text(self, **model: Any) -> str:
        await self.gateway.reconfigure(gateway_config(**model))
        image = {"type": "image_url", "image_url": {"url": data_url(png())}}
        body = {"model": "tiny", "messages": [{"role": "user", "content": [image]}]}
        admitted = await self.gateway.admit(json.dumps(body).encode())
        return "".join([chunk.text async for chunk in self.gateway.answer(admitted, "r1")])


async def test_both_requests_name_the_model_that_the_prompt_was_made_for(prompter: Prompter) -> None:
    setting = Setting(prompter, FakeSides(answer()))
    await setting.text()
    assert setting.own.encodes[0].model == setting.own.generations[0][0].model == MODEL.identity


async def test_what_the_own_sides_refuse_goes_to_the_stand_in_whole(prompter: Prompter) -> None:
    setting = Setting(prompter, FakeSides([DIFFERS]), FakeSides(answer("blue")))
    assert await setting.text() == "blue"
    assert setting.stand_in is not None
    (_, features) = setting.stand_in.generations[0]
    assert features is setting.stand_in.pending[0], "never the features of the other pair"
    assert setting.own.pending[0].cancelled
    assert setting.pauses == []


async def test_the_own_sides_are_asked_first_again_for_each_request(prompter: Prompter) -> None:
    setting = Setting(prompter, FakeSides([DIFFERS], answer("red")), FakeSides(answer("blue")))
    assert await setting.text() == "blue"
    assert await setting.text() == "red"


async def test_without_a_stand_in_it_waits_until_the_model_is_there(prompter: Prompter) -> None:
    setting = Setting(prompter, FakeSides([DIFFERS], [DIFFERS], answer()))
    assert await setting.text() == "red"
    assert setting.pauses == [HOLD_S, HOLD_S]


@pytest.mark.parametrize("fault", [DIFFERS, RoleUnavailable("not there"), Lost("gone")])
async def test_a_stand_in_that_cannot_help_is_no_failure(prompter: Prompter, fault: Exception) -> None:
    setting = Setting(prompter, FakeSides([DIFFERS], answer()), FakeSides([fault]))
    assert await setting.text() == "red"


async def test_sides_that_are_down_are_stood_in_for_but_not_waited_for(prompter: Prompter) -> None:
    down = RoleUnavailable("cannot be deployed")
    assert await Setting(prompter, FakeSides([down]), FakeSides(answer("blue"))).text() == "blue"
    setting = Setting(prompter, FakeSides([down]), FakeSides([DIFFERS]))
    with pytest.raises(RoleUnavailable, match="cannot be deployed"):
        await setting.text()
    assert setting.pauses == []


async def test_a_request_for_the_model_before_is_made_anew_for_the_present_one(prompter: Prompter) -> None:
    setting = Setting(prompter, FakeSides([DIFFERS], answer()))
    renamed = OTHER_MODEL.model_copy(update={"name": "renamed"})
    setting.between = lambda: setting.gateway.reconfigure(gateway_config(model=renamed))
    assert await setting.text() == "red"
    assert [request.model for request in setting.own.encodes] == [MODEL.identity, OTHER_MODEL.identity]


async def test_a_model_that_does_not_come_is_unavailable_at_the_deadline(prompter: Prompter) -> None:
    setting = Setting(prompter, FakeSides([DIFFERS]))
    began = setting.clock.now
    with pytest.raises(RoleUnavailable, match="being changed"):
        await setting.text()
    assert DEADLINE_S - 2 * HOLD_S <= setting.clock.now - began <= DEADLINE_S


async def test_a_vision_replica_refuses_a_request_for_another_model() -> None:
    loaded = LoadedVision(FakeVision(), checkpoint_config(), REVISION)
    encoder = VisionEncoder(Recorded(), load=lambda _: loaded)
    await encoder.reconfigure(vision_config())
    request = EncodeRequest("r", (png(),), model=MODEL.identity)
    await encoder.encode(request)
    await encoder.encode(replace(request, model=None))
    await encoder.reconfigure(vision_config(model=OTHER_MODEL))
    with pytest.raises(ModelDiffers):
        await encoder.encode(request)


async def test_a_language_replica_refuses_a_request_for_another_model(prompter: Prompter) -> None:
    engine = FakeLanguage([65])
    model = LanguageModel(Recorded(), load=lambda _: LoadedLanguage(prompter, REVISION, lambda _: engine))
    await model.reconfigure(language_config(model=OTHER_MODEL))
    request = GenerateRequest("r", (65,), 0, Sampling(4), model=MODEL.identity)
    with pytest.raises(ModelDiffers):
        await anext(model.generate(request, None))
    assert engine.prompts == []
