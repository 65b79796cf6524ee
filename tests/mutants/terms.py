"""The conditions that an expression, or a function's body, is made of: where each stands in the text."""

import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

KEYWORDS = re.compile(
    r"""'[^']*'|[();]|IS (?:NOT )?DISTINCT FROM|\bON CONFLICT\b"""
    r"""|\b(?:AND|OR|NOT|IF|ELSIF|CASE|WHEN|THEN|ELSE|END|RETURN)\b"""
    r"""|\b(?:SELECT|FROM|CROSS|JOIN|ON|USING|WHERE|GROUP|HAVING|ORDER|UNION)\b"""
)
BEFORE_A_CONDITION = {"AND", "OR", "IF", "ELSIF", "WHERE", "HAVING", "WHEN", "ON"}
AFTER_A_CONDITION = {"AND", "OR"}
Words = list[tuple[str, int, int]]  # keywords of one parenthesis, and where they begin and end


def without_each_condition(text: str) -> Iterator[tuple[str, str]]:
    """The versions of a text in which one condition is true, or false: what is changed, and the text."""
    seen: Counter[str] = Counter()
    for start, end in conditions(text):
        condition = " ".join(text[start:end].split())
        seen[condition] += 1
        again = f" ({seen[condition]})" if seen[condition] > 1 else ""
        for value in ("true", "false"):
            yield f"{value} for {condition}{again}", text[:start] + value + text[end:]


def conditions(text: str) -> Iterator[tuple[int, int]]:
    """Where each condition begins and ends: an operand of AND or OR, at any depth, or what follows IF, WHERE, ON."""
    inside: list[Words] = [[("(", 0, 0)]]  # of each parenthesis that is open
    for found in KEYWORDS.finditer(text):
        word = found.group()
        if word == "(":
            inside.append([(word, *found.span())])
        elif word == ")":
            yield from between(text, [*inside.pop(), (word, *found.span())])
        elif word != "NOT" and not word.startswith(("'", "IS ")):
            inside[-1].append((word, *found.span()))
    yield from between(text, [*inside.pop(), (")", len(text), len(text))])


def between(text: str, words: Words) -> Iterator[tuple[int, int]]:
    for (before, _, start), (after, end, _) in pairwise(words):
        condition = text[start:end].strip()
        is_one = condition not in {"", "NOT"} and not re.fullmatch("'[^']*'", condition)  # as in CASE a WHEN 'b'
        if is_one and (before in BEFORE_A_CONDITION or after in AFTER_A_CONDITION):
            begins = text.index(condition, start)
            yield begins, begins + len(condition)
