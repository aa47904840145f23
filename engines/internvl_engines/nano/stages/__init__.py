"""One file a stage of the training of internvl-nano; their order and lengths stand in ``nano.schedule``."""
