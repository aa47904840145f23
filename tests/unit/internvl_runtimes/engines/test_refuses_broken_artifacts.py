import numpy as np
import pytest
from onnx import TensorProto, helper, save

from internvl_engines.contract.artifact import DECODER, EMBEDDINGS, PROJECTOR_KEEP, VIT, onnxruntime_key
from internvl_engines.store.local import write_artifact
from internvl_runtimes.engines.base import EngineFailed
from internvl_runtimes.engines.onnxruntime_language.decoder import OnnxRuntimeDecoder
from internvl_runtimes.engines.onnxruntime_vision import OnnxRuntimeVision

GEOMETRY = {"S": 8, "P": 4, "D": 6, "K": 1, "H": 10}


def artifact(store, role, fill, geometry=None):
    return write_artifact(
        store,
        onnxruntime_key(role, weights="sha256:" + "0" * 64),
        fill,
        geometry=geometry or {},
        verify=lambda content: {},
        tools={},
    )


def graph(path, inputs, outputs, nodes):
    """A graph of the given nodes; inputs and outputs are name -> shape, all float32."""
    values = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in side.items()]
        for side in (inputs, outputs)
    ]
    model = helper.make_model(
        helper.make_graph([helper.make_node(*node) for node in nodes], "g", *values),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    save(model, path)


def fill_vision(content):
    graph(
        content / VIT,
        {"pixel_values": ["N", 3]},
        {"patches": ["N", 3]},
        [("Neg", ["pixel_values"], ["patches"])],
    )
    graph(
        content / PROJECTOR_KEEP,
        {"patches": ["N", 3]},
        {"features": ["N", 3]},
        [("Abs", ["patches"], ["features"])],
    )


def test_a_model_without_a_router_keeps_every_tile(tmp_path):
    engine = OnnxRuntimeVision(artifact(tmp_path, "vision", fill_vision, GEOMETRY), threads=1)
    assert engine.geometry.compressed_tokens is None and engine.geometry.hidden_size == 10
    patches = engine.encode(np.ones((2, 3), np.float32))
    assert patches.tolist() == [[-1] * 3] * 2
    assert engine.project(patches, compressed=False).tolist() == [[1] * 3] * 2
    with pytest.raises(EngineFailed, match="no router"):
        engine.compress_probability(patches)
    with pytest.raises(EngineFailed, match="keep every tile"):
        engine.project(patches, compressed=True)


def test_a_call_of_the_wrong_shape_is_an_engine_failure(tmp_path):
    engine = OnnxRuntimeVision(artifact(tmp_path, "vision", fill_vision, GEOMETRY), threads=1)
    with pytest.raises(EngineFailed, match="ONNX Runtime failed"):
        engine.encode(np.ones((2, 4), np.float32))


def test_a_manifest_without_sizes_is_refused(tmp_path):
    with pytest.raises(EngineFailed, match="no geometry K, H"):
        OnnxRuntimeVision(artifact(tmp_path, "vision", fill_vision, {"S": 1, "P": 1, "D": 1}), threads=1)


def test_a_file_that_is_no_graph_is_refused_by_name(tmp_path):
    def fill(content):
        (content / VIT).write_bytes(b"not a graph")
        (content / PROJECTOR_KEEP).write_bytes(b"")

    with pytest.raises(EngineFailed, match=r"ONNX Runtime refused .*vit\.onnx"):
        OnnxRuntimeVision(artifact(tmp_path, "vision", fill, GEOMETRY), threads=1)


def test_a_decoder_whose_cache_has_no_fixed_sizes_is_refused(tmp_path):
    def fill(content):
        np.save(content / EMBEDDINGS, np.zeros((3, 2), np.float32))
        shape = ["L", "B", 2, "P", 4]
        graph(
            content / DECODER, {"past_keys": shape}, {"logits": shape}, [("Neg", ["past_keys"], ["logits"])]
        )

    with pytest.raises(EngineFailed, match=r"past_keys is .*not \[L, B, KV, P, Dh\]: export it again"):
        OnnxRuntimeDecoder(artifact(tmp_path, "language", fill), threads=1)
