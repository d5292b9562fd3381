"""Faults injected into the real service, and what must hold after them: `make faults`."""
