"""The README's parts, for the tests that hold them against the code."""

import re
from pathlib import Path

TEXT = (Path(__file__).parent.parent / "README.md").read_text()


def section(title: str) -> str:
    """What stands below a heading, up to the next one of any level."""
    return re.split(rf"^#+ {re.escape(title)}$", TEXT, flags=re.M)[1].split("\n##", 1)[0]


def code(title: str, language: str) -> str:
    """The first block of a language below a heading."""
    return section(title).split(f"```{language}\n", 1)[1].split("```", 1)[0]
