"""Pure functions before the engines: image headers, tiling, chat template, prompt, and text out of tokens.

numpy, Pillow and tokenizers only; no Ray, no engine. Serving and the training of internvl-nano both call
them, so that a model sees at serving time what it saw in training.
"""
