"""Pure: spec -> what Ray Serve is told. No I/O, no clock; the same input gives the same bytes.

`serve_schema.py` are the values, `serve_config.py` makes them. Called by `plan/`.
"""
