"""The language model: chunks, stops, cancellation, configuration."""

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from internvl_runtimes.contract import metrics
from internvl_runtimes.contract.failures import FailureCode, ReplicaFailed
from internvl_runtimes.deployments.language_model import LanguageModel, LoadedLanguage
from internvl_runtimes.engines.base import EngineLoad, StageWork
from internvl_runtimes.preprocess.prompt import PICTURE, Message, Prompter
from internvl_runtimes.protocol.handover import (
    Chunk,
    Features,
    FeaturesInvalid,
    GenerateRequest,
    ImageFeatures,
    Sampling,
)
from tests.unit.internvl_runtimes.deployments.fakes import (
    REVISION,
    Clock,
    FakeLanguage,
    Recorded,
    features,
    language_config,
)


class Setting:
    """A language model over fake engines."""

    def __init__(self, prompter: Prompter, text: str = "answer") -> None:
        self.prompter, self.clock, self.recorded = prompter, Clock(), Recorded()
        self.tokens = prompter.tokenizer.encode(text, add_special_tokens=False).ids
        self.engines: list[FakeLanguage] = []
        self.loads = 0
        self.fail: ReplicaFailed | None = None
        self.model = LanguageModel(self.recorded, load=self._load, clock=self.clock)

    def _load(self, config: Any) -> LoadedLanguage:
        self.loads += 1
        if self.fail:
            raise self.fail
        return LoadedLanguage(self.prompter, REVISION, self._engine)

    def _engine(self, config: Any) -> FakeLanguage:
        self.engines.append(FakeLanguage(self.tokens))
        return self.engines[-1]

    def request(self, *, pictures: int = 0, stop: tuple[str, ...] = ()) -> GenerateRequest:
        prompt = self.prompter.prompt([Message("user", (*[PICTURE] * pictures, "what"))])
        return GenerateRequest("r", prompt.ids, pictures, Sampling(max_tokens=32, stop=stop))

    async def chunks(self, request: GenerateRequest, given: Features | None = None) -> list[Chunk]:
        return [chunk async for chunk in self.model.generate(request, given)]


@pytest.fixture
async def setting(prompter: Prompter) -> Setting:
    made = Setting(prompter)
    await made.model.reconfigure(language_config())
    return made


@pytest.mark.parametrize(("ignored", "text"), [(False, ""), (True, "answer")])
async def test_the_models_own_stop_can_be_ignored(setting: Setting, ignored: bool, text: str) -> None:
    setting.tokens.insert(0, min(setting.prompter.stop_token_ids))
    await setting.model.reconfigure(language_config(max_sequences=3))
    request = setting.request()
    request = replace(request, sampling=replace(request.sampling, ignore_eos=ignored))
    assert "".join(chunk.text for chunk in await setting.chunks(request)) == text


async def test_the_first_token_comes_at_once_and_the_rest_coalesced(setting: Setting) -> None:
    def ten_milliseconds(index: int) -> None:
        setting.clock.now += 0.010

    setting.engines[0].before_step = ten_milliseconds
    chunks = await setting.chunks(setting.request())
    assert [len(chunk.token_ids) for chunk in chunks] == [1, 3, 2]
    assert "".join(chunk.text for chunk in chunks) == "answer"
    assert [chunk.finished is not None for chunk in chunks] == [False, False, True]


async def test_a_stop_string_ends_the_answer_and_frees_the_slot(setting: Setting) -> None:
    chunks = await setting.chunks(setting.request(stop=("sw",)))
    assert "".join(chunk.text for chunk in chunks) == "an"
    assert chunks[-1].finished is not None and chunks[-1].finished.reason == "stop"
    assert chunks[-1].finished.completion_tokens == 4
    assert (setting.engines[0].open, setting.engines[0].closed) == (0, 1)


async def test_closing_an_answer_frees_the_slot(setting: Setting) -> None:
    async with aclosing(setting.model.generate(setting.request(), None)) as chunks:
        await anext(chunks)
        assert setting.engines[0].open == 1
    assert setting.engines[0].open == 0


async def test_cancelling_a_waiting_answer_frees_the_slot(setting: Setting) -> None:
    setting.engines[0].before_step = lambda index: asyncio.Event().wait()
    task = asyncio.ensure_future(setting.chunks(setting.request()))
    while not setting.engines[0].open:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert setting.engines[0].open == 0


async def test_visual_rows_take_the_place_of_the_pictures_token(setting: Setting) -> None:
    given = features(ImageFeatures(2, 1, (2, 2, 1)))
    request = setting.request(pictures=1)
    finished = (await setting.chunks(request, given))[-1].finished
    prompt = setting.engines[0].prompts[0]
    assert prompt.visual_rows.shape[0] == len(prompt.visual_positions) == 5
    assert finished is not None
    assert finished.prompt_tokens == len(request.prompt_ids) - 1 + 5
    assert (finished.visual_tokens, finished.tiles, finished.completion_tokens) == (5, 3, 6)
    assert finished.images == given.images
    assert finished.seconds["encode"] == 0.3 and finished.seconds["prefill"] == 0.25
    assert setting.recorded.total(metrics.TOKENS, kind="visual") == 5


@pytest.mark.parametrize(
    "broken",
    [
        {"revision": "sha256:" + "cd" * 32},
        {"digest": "0" * 32},
        {"images": (ImageFeatures(1, 1, (1,)),)},
        {"images": ()},
    ],
)
async def test_features_that_do_not_agree_are_refused(setting: Setting, broken: dict[str, Any]) -> None:
    given = replace(features(ImageFeatures(1, 1, (2,))), **broken)
    with pytest.raises(FeaturesInvalid):
        await setting.chunks(setting.request(pictures=1), given)
    assert setting.engines[0].prompts == []


async def test_changed_limits_make_a_new_engine_without_loading_again(setting: Setting) -> None:
    await setting.model.reconfigure(language_config(generation="l2", max_sequences=3))
    assert (setting.loads, len(setting.engines)) == (1, 2)
    finished = (await setting.chunks(setting.request()))[-1].finished
    assert finished is not None and finished.generation == "l2"
    assert len(setting.engines[1].prompts) == 1


async def test_a_new_generation_alone_keeps_the_engine(setting: Setting) -> None:
    await setting.model.reconfigure(language_config(generation="l2"))
    assert (setting.loads, len(setting.engines)) == (1, 1)
    finished = (await setting.chunks(setting.request()))[-1].finished
    assert finished is not None and finished.generation == "l2"


async def test_the_old_engine_ends_its_answers_before_it_is_stopped(setting: Setting) -> None:
    async with aclosing(setting.model.generate(setting.request(), None)) as chunks:
        await anext(chunks)
        await setting.model.reconfigure(language_config(max_sequences=3))
        await asyncio.sleep(0)
        assert not setting.engines[0].stopped
        rest = [chunk async for chunk in chunks]
        assert rest[-1].finished is not None
    while not setting.engines[0].stopped:
        await asyncio.sleep(0)


async def test_a_failed_reload_leaves_the_old_engine_answering(setting: Setting) -> None:
    setting.fail = ReplicaFailed(FailureCode.MODEL_NOT_FOUND, "gone")
    with pytest.raises(ReplicaFailed):
        await setting.model.reconfigure(language_config(threads=2, generation="l2"))
    finished = (await setting.chunks(setting.request()))[-1].finished
    assert finished is not None and finished.generation == "l1"


async def test_each_request_tells_its_tokens_when_it_arrives_and_its_wait_at_its_first_token(
    setting: Setting,
) -> None:
    given = features(ImageFeatures(1, 1, (2,)))
    async with aclosing(setting.model.generate(setting.request(pictures=1), given)) as chunks:
        first = asyncio.ensure_future(anext(chunks))
        await first
        total = setting.recorded.total
        assert total(metrics.PROMPT_TOKENS_ARRIVED, kind="visual") == 2
        assert total(metrics.PROMPT_TOKENS_ARRIVED, kind="prompt") > 0
        assert total(metrics.QUEUE_SECONDS, stage="language") == 0.5


async def test_what_an_engine_did_is_counted_once_and_to_its_end_when_another_takes_over(
    setting: Setting,
) -> None:
    def did(engine: FakeLanguage, tokens: int) -> None:
        work = StageWork(tokens, tokens / 10, tokens, tokens / 10)
        load = EngineLoad(0, 0, 0, 0, 0, begun=tokens, decode=work, beside_prefill=tokens // 5)
        engine.load = lambda: load  # type: ignore[method-assign]

    old = setting.engines[0]
    did(old, 30)
    setting.model.record_load()
    setting.model.record_load()
    assert setting.recorded.total(metrics.WORK, stage="decode") == 30
    async with aclosing(setting.model.generate(setting.request(), None)) as chunks:
        await anext(chunks)
        await setting.model.reconfigure(language_config(max_sequences=3))
        did(old, 40)
        did(setting.engines[1], 5)
        setting.model.record_load()
        assert setting.recorded.total(metrics.WORK, stage="decode") == 40 + 5
        did(old, 50)
    while not old.stopped:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert setting.recorded.total(metrics.WORK, stage="decode") == 50 + 5
    assert setting.recorded.total(metrics.SATURATED_SECONDS, stage="decode") == pytest.approx(5.5)
    assert setting.recorded.total(metrics.SATURATED_WORK, stage=metrics.BESIDE_PREFILL) == 10 + 1
    assert setting.recorded.total(metrics.SEQUENCES_BEGUN) == 50 + 5
