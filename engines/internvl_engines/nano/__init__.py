"""internvl-nano: a small but genuine InternVL3.5-Flash that answers questions about drawn pictures.

``pictures`` and ``questions`` need Pillow only and are used by tests and the demo too;
``tokenizer`` and ``shape`` say what the model is. ``train`` and what it is made of need torch; ``evaluate`` does not:
it asks the exported artifacts.
"""
