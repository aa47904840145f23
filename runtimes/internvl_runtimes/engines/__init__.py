"""What executes: one small interface a role (``base``), one implementation an engine.

The deployments call them; they know nothing of Ray, HTTP or tokenizers. Heavy imports stay inside the
engine that needs them.
"""
