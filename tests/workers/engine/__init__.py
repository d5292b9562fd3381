"""The engine's tests: numbers against hand-written PyTorch loops."""
