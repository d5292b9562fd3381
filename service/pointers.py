"""JSON Pointers (RFC 6901)."""


def pointer(*parts: str | int) -> str:
    """The pointer to what stands under these keys and positions, from the root down."""
    tokens = (str(part).replace("~", "~0").replace("/", "~1") for part in parts)
    return "".join(f"/{token}" for token in tokens)
