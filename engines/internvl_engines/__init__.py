"""What happens to a model before it is served: describe, load, train, export, verify, store.

The layers, bottom to top; each may import only those before it:

* ``contract``   values that the operator and the runtimes read too (standard library and pydantic only)
* ``store``      where artifacts lie and how they are written and checked
* ``reference``  InternVL in torch, the truth that every engine is measured against
* ``verify``     numbers that say how far an artifact is from the reference
* ``export``     reference -> ONNX files in the store
* ``nano``       internvl-nano: pictures, tokenizer, training, evaluation
"""
