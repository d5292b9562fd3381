"""The contract: what a client sends, as frozen pydantic models without I/O."""
