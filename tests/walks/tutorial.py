"""Reads a tutorial: its shell blocks in order, each with the output that the reader is shown."""

import re
from dataclasses import dataclass
from pathlib import Path

FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
VARIES = "…"


@dataclass(frozen=True, kw_only=True)
class Block:
    """What the reader types, and the lines that must come of it, in this order."""

    script: str
    expected: tuple[str, ...]


def blocks_of(file: Path) -> tuple[Block, ...]:
    """The ```sh blocks. A ```text block shows what the one before it prints."""
    blocks: list[Block] = []
    for language, text in FENCED.findall(file.read_text(encoding="utf-8")):
        if language == "sh":
            blocks.append(Block(script=text, expected=()))
        elif language == "text":
            assert blocks, text
            assert not blocks[-1].expected, f"output of which block? {text}"
            blocks[-1] = Block(script=blocks[-1].script, expected=tuple(text.splitlines()))
    return tuple(blocks)


def missing_line(block: Block, output: str) -> str | None:
    """The first expected line that the output does not have after the ones before it."""
    lines = iter(output.splitlines())
    for wanted in block.expected:
        pattern = re.compile(".*".join(map(re.escape, wanted.split(VARIES))))
        if not any(pattern.fullmatch(line) for line in lines):
            return wanted
    return None
