"""JSON Pointers (RFC 6901)."""


def pointer(*parts: str | int) -> str:
    """The pointer to what stands under these keys and positions, from the root down."""
    tokens = (str(part).replace("~", "~0").replace("/", "~1") for part in parts)
    return "".join(f"/{token}" for token in tokens)


def unpointed(text: str) -> tuple[str, ...]:
    """The keys and positions of a pointer."""
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:])
