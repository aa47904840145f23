"""The data plane: what runs on the Ray nodes, from the picture to the streamed token.

Rooms, bottom to top:

* ``contract``: what others may import (serve arguments, failure codes, metric names, routes). Light.
* ``protocol``: OpenAI's wire types, problems, and the values handed from vision to language.
* ``preprocess``: pure functions: tiling, image headers, chat template, prompt.
* ``engines``: what executes: one small interface a role, one implementation an engine.
* ``deployments``: plain classes (gateway, vision encoder, language model), tested without Ray.
* ``app``: the only module that decorates and binds Ray Serve deployments.

This file imports nothing: importing ``internvl_runtimes.contract`` runs it, in the operator too.
"""
