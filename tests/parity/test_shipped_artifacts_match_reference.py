"""The ONNX artifacts in the repository against the checkpoint beside them: values, and tokens of greedy answers."""

import random
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the training environment")
pytest.importorskip("transformers", reason="needs the training environment")

SHIPPED = Path(__file__).parents[2] / "engines/internvl_engines/models/internvl-nano"
NEAR_TIE = 1e-4
QUESTIONS = 24


@pytest.fixture(scope="module")
def reference():
    from internvl_engines.reference.model import load_model

    return load_model(SHIPPED)


def artifact(role):
    from internvl_engines.contract.artifact import onnxruntime_key
    from internvl_engines.contract.checkpoint import checkpoint_digest
    from internvl_engines.store.layout import stores_for
    from internvl_engines.store.local import find_artifact

    return find_artifact(onnxruntime_key(role, weights=checkpoint_digest(SHIPPED)), stores_for(SHIPPED))


def scenes():
    from internvl_engines.nano.pictures import compose, draw, random_grid

    for number in range(QUESTIONS):
        rng = random.Random(f"parity:{number}")
        scene = compose(rng, grid=random_grid(rng, single=0.3))
        yield rng, scene, draw(scene)


def pixels_of(picture):
    from internvl_runtimes.preprocess.tiling import tile

    return tile(picture, tile_size=112, min_tiles=1, max_tiles=12, use_thumbnail=True).pixels


@pytest.mark.timeout(120)
def test_rows_and_probabilities_of_real_pictures_are_those_of_torch(reference):
    from internvl_runtimes.engines.onnxruntime_vision import OnnxRuntimeVision

    engine = OnnxRuntimeVision(artifact("vision"), threads=1)
    for _, _, picture in scenes():
        pixels = pixels_of(picture)
        patches = engine.encode(pixels)
        with torch.no_grad():
            expected = reference.vision.patches(torch.from_numpy(pixels))
            for got, want in (
                (patches, expected),
                (engine.project(patches, compressed=False), reference.vision.keep(expected)),
                (engine.project(patches, compressed=True), reference.vision.compress(expected)),
                (engine.compress_probability(patches), reference.vision.compress_probability(expected)),
            ):
                assert np.abs(got - want.numpy()).max() < 1e-3


@pytest.mark.timeout(120)
def test_logits_after_real_prompts_are_those_of_torch(reference):
    from internvl_engines.export.language import Decoder
    from internvl_engines.verify.parity import decoder_case, open_graph, run_graph

    config = reference.config.language
    session = open_graph(artifact("language").file("decoder.onnx"))
    sizes = {
        "hidden": config.hidden_size,
        "layers": config.layers,
        "kv_heads": config.kv_heads,
        "head_dim": config.head_dim,
    }
    decoder = Decoder(reference.language).eval()
    for shape in ((1, 1, 0), (1, 300, 0), (4, 1, 250), (2, 7, 13)):
        case = decoder_case(*shape, **sizes, seed=5)
        with torch.no_grad():
            expected = decoder(*case)
        for got, want in zip(run_graph(session, case), expected, strict=True):
            assert np.abs(got - want.numpy()).max() < 1e-3


@pytest.mark.timeout(240)
def test_greedy_answers_have_the_tokens_of_transformers(reference):
    from internvl_engines.nano.answering import Answerer
    from internvl_engines.nano.questions import ask
    from internvl_runtimes.preprocess.prompt import PICTURE, Message, Prompter

    answerer = Answerer(SHIPPED)
    prompter = Prompter(SHIPPED / "tokenizer.json", reference.config)
    compared = 0
    for rng, scene, picture in scenes():
        for question in ask(scene, rng, count=1):
            rows = torch.cat(reference.vision.features(torch.from_numpy(pixels_of(picture))))
            prompt = prompter.widen(
                prompter.prompt([Message("user", (PICTURE, question.text))]).ids, [len(rows)]
            )
            with torch.no_grad():
                embeddings = reference.prompt_embeddings(
                    torch.from_numpy(prompt.ids), rows, prompter.image_context_id
                )
                tokens = reference.generate(embeddings, max_new_tokens=16)
                gaps = _gaps(reference.language, embeddings, tokens)
            answer = answerer.answer(question.text, answerer.see([picture]))
            expected = prompter.tokenizer.decode(
                [token for token in tokens if token not in reference.end_tokens]
            )
            assert answer == expected or min(gaps) < NEAR_TIE
            compared += answer == expected
    assert compared >= QUESTIONS // 2


def _gaps(language, embeddings, tokens):
    """Between the two best logits, at each step."""
    whole = torch.cat(
        [embeddings, language.get_input_embeddings()(torch.tensor([tokens[:-1]], dtype=torch.long))], dim=1
    )
    logits = language(inputs_embeds=whole).logits[0, embeddings.shape[1] - 1 :]
    best = logits.topk(2).values
    return (best[:, 0] - best[:, 1]).tolist()
