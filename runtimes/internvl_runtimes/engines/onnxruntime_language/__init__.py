"""The language side in ONNX Runtime, fp32 on the CPU: continuous batching over prompt embeddings, no torch.

* ``sequence``: one request's state.
* ``scheduler``: who waits, who is prefilled, who decodes, who leaves. Book-keeping only.
* ``slots``: the KV cache of the decoding sequences.
* ``decoder``: the graph that computes logits and new keys and values.
* ``sampling``: from logits to a token.
* ``engine``: the loop: schedule, run, sample, deliver.
"""
