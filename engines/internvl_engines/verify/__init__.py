"""How far an artifact is from the reference, in numbers that go into its manifest."""
