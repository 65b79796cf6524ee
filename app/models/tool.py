"""Tools: the functions that a chatbot's model may call, as `settings.tools` holds them."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Tool:
    """A function that a chatbot's model may call. Guide: "Function Calling Support".

    Chat APIs take it as it is or with a wrapper: `{"type": "function", "function": asdict(tool)}`. What is not as said
    here the database refuses (revision 015).

    Args:
        name: 1 to 64 letters, digits, _ and -; no other tool of the chatbot has it.
        description: when to call it, and what it does.
        parameters: a JSON Schema (2020-12) of type object.
    """

    name: str
    description: str
    parameters: dict[str, Any]


def tools_of(settings: Mapping[str, Any] | None) -> tuple[Tool, ...]:
    """The tools in the settings of a chatbot, or of a version of it.

    Raises:
        TypeError: they are from before revision 015, and of another shape.
    """
    return tuple(Tool(**each) for each in (settings or {}).get("tools", ()))


def with_tools(settings: Mapping[str, Any] | None, tools: Iterable[Tool]) -> dict[str, Any]:
    """Settings with these tools in place of those that were there."""
    others = {key: value for key, value in (settings or {}).items() if key != "tools"}
    found = [asdict(tool) for tool in tools]
    return others | {"tools": found} if found else others
