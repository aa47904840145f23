"""InternVL in torch, read from a published checkpoint without remote code: the truth for every engine.

``vision_tower``, ``router`` and ``projectors`` are modules whose parameter names are the checkpoint's;
``vision`` and ``model`` put them together; ``weights`` reads safetensors, only the side that is asked for.
"""
