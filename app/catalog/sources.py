"""Which relations the text of a function names where it reads or changes rows, or the rights to them."""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from sqlglot import Token, TokenError, TokenType
from sqlglot.dialects import Postgres

Relation = tuple[str, str]
"""Schema and name."""

READS = {"FROM", "JOIN", "USING"}  # a relation follows, and after a comma another one
CHANGES = {"UPDATE", "INTO", "TRUNCATE", "COPY", "LOCK", "TABLE", "ON"}
NO_RELATION = {  # words before one of those, after which none follows
    "FROM": {"DISTINCT"},
    "UPDATE": {"FOR", "KEY", "ON", "DO", "BEFORE", "AFTER", "OR"},
}
ONLY_AFTER = {"INTO": {"INSERT", "MERGE"}}  # or it is a variable's
RIGHTS = {"GRANT", "REVOKE", "POLICY", "RULE", "TRIGGER"}  # in whose statements ON names a relation
BEFORE_COLUMNS = {"INTO", "COPY", "ON"}  # where a parenthesis after the name makes it no function's
BETWEEN = {"ONLY", "LATERAL", "TABLE", "IF", "NOT", "EXISTS"}
END_OF_LIST = {"WHERE", "GROUP", "ORDER", "HAVING", "LIMIT", "SET", "VALUES", "RETURNING", "SELECT", "LOOP", "UNION"}
RUN_TEXT = {"EXECUTE", "DBLINK", "DBLINK_EXEC"} | {  # those that run a string, or take a relation's name in one
    f"{what}_TO_XML{schema}" for what in ("QUERY", "TABLE", "CURSOR") for schema in ("", "SCHEMA", "_AND_XMLSCHEMA")
}
STRINGS = {TokenType.STRING, TokenType.BYTE_STRING, TokenType.HEREDOC_STRING, TokenType.NATIONAL_STRING}


def relations_named(
    body: str, known: Collection[Relation], path: Sequence[str], *, reading_only: bool = False, is_run: bool = False
) -> set[Relation]:
    """Find which of the known relations a function's body names.

    Words are read as PostgreSQL reads them. What the function calls is not followed, and what it puts together of parts
    is found only where a part is a relation's whole name.

    Args:
        body: in SQL or PL/pgSQL.
        known: the relations to look for.
        path: the schemas in which names without one are looked up.
        reading_only: whether to leave out those that are only changed.
        is_run: whether the body is a text that another one runs.
    """
    try:
        tokens = Postgres().tokenize(body)
    except TokenError:  # what is no SQL may be some other language's way to run it
        return words_found(body, known)
    is_run = is_run or any(token.text.upper() in RUN_TEXT for token in tokens)
    names = list(named(tokens, reading_only=reading_only))
    if is_run and (whole := name_at(tokens, 0)) and len(tokens) == 2 * len(whole) - 1:
        names.append(whole)  # such as format's argument for %I
    found = {(schema, name[-1]) for name in names for schema in (name[-2:-1] or path)} & set(known)
    for before, token in pairwise([Token(TokenType.SEMICOLON, ";"), *tokens]):
        # The rest of some statements is left to us as one string.
        if token.token_type in STRINGS and (is_run or before.token_type in Postgres.Tokenizer.COMMANDS):
            found |= relations_named(token.text, known, path, reading_only=reading_only, is_run=is_run)
    return found


def words_found(body: str, known: Collection[Relation]) -> set[Relation]:
    """The relations whose names stand anywhere in a text, of whichever language."""
    return {relation for relation in known if re.search(rf"\b{re.escape(relation[1])}\b", body)}


def runs_argument(body: str, arguments: Collection[str]) -> bool:
    """Whether a function in PL/pgSQL runs SQL that it makes of one of its arguments, or is one."""
    try:
        tokens = Postgres().tokenize(body)
    except TokenError:
        return False
    given = {argument.upper() for argument in arguments if argument} | {"$1"}
    for at, token in enumerate(tokens):
        if word_of(token) == "EXECUTE":
            rest = tokens[at + 1 :]
            if rest and rest[0].token_type in STRINGS:  # what the tokenizer leaves to us
                rest = Postgres().tokenize(rest[0].text)
            for word, after in pairwise([*rest, Token(TokenType.SEMICOLON, ";")]):
                if word.text.upper() in given or word.text + after.text == "$1":
                    return True
                if word.token_type == TokenType.SEMICOLON or word_of(word) in {"USING", "INTO", "LOOP"}:
                    break
    return False


@dataclass
class Parenthesis:
    """What is known inside of one.

    Args:
        lists: whether it is in a list of relations, where another one follows a comma.
        is_call: whether it holds a function's arguments.
        cte: the name of the common table expression that it defines.
        selects: whether a query began in it.
    """

    lists: bool = False
    is_call: bool = False
    cte: str = ""
    selects: bool = False


def named(tokens: Sequence[Token], *, reading_only: bool) -> Iterator[tuple[str, ...]]:
    """The names that stand where a relation does, as their parts; not those of common table expressions."""
    inside, ctes, expected, rights, cte, leading = [Parenthesis()], set[str](), False, False, "", ""
    for at, token in enumerate(tokens):
        word, before = word_of(token), word_of(tokens[at - 1]) if at else ""
        here = inside[-1]
        match token.token_type:
            case TokenType.SEMICOLON:
                inside, ctes, expected, rights = [Parenthesis()], set(), False, False
                continue
            case TokenType.L_PAREN:
                is_call = bool(at) and not expected and not cte and name_at(tokens, at - 1) is not None
                inside.append(Parenthesis(lists=expected, is_call=is_call, cte=cte))
                cte = ""
                continue
            case TokenType.R_PAREN:
                ctes |= {here.cte}
                inside = inside[:-1] or [Parenthesis()]
                expected = False
                continue
            case TokenType.COMMA:
                expected = here.lists
                continue
        rights |= word in RIGHTS
        if word in {"SELECT", "DELETE"}:
            here.selects = True
        if word in END_OF_LIST:
            here.lists = expected = False
        elif word in READS | CHANGES and not (expected and word in BETWEEN):
            expected = leads_to_relation(word, before, tokens, at, here=here, rights=rights, reading_only=reading_only)
            here.lists |= expected and word in READS
            leading = word
        elif expected and word not in BETWEEN:
            name = name_at(tokens, at)
            is_function = leading not in BEFORE_COLUMNS and name and is_called(tokens, at, name)
            if name and not is_function and (len(name) > 1 or name[0] not in ctes):
                yield name
            expected = False
        elif (name := name_at(tokens, at)) and defines_cte(tokens, at):
            cte = name[0]


def leads_to_relation(
    word: str, before: str, tokens: Sequence[Token], at: int, *, here: Parenthesis, rights: bool, reading_only: bool
) -> bool:
    """Whether a relation follows a word that may stand before one."""
    if before in NO_RELATION.get(word, ()) or before not in ONLY_AFTER.get(word, {before}):
        return False
    if word == "FROM":
        return not (here.is_call and not here.selects) and not (reading_only and before == "DELETE")
    if word == "USING":  # else columns follow, or a query
        return at + 1 < len(tokens) and tokens[at + 1].token_type != TokenType.L_PAREN
    if word == "ON":
        return rights and not reading_only
    return word in READS or not reading_only or word == "TABLE"


def word_of(token: Token) -> str:
    """An unquoted word in capitals, the first of ORDER BY, or whatever else the token is."""
    return '"' if token.token_type == TokenType.IDENTIFIER else token.text.upper().partition(" ")[0]


def name_at(tokens: Sequence[Token], at: int) -> tuple[str, ...] | None:
    """The parts of the name that begins at a token, if one does."""
    parts = []
    for part, dot in zip(tokens[at::2], [*tokens[at + 1 :: 2], None], strict=False):
        if part.token_type != TokenType.IDENTIFIER and not re.fullmatch(r"[^\W\d][\w$]*", part.text):
            return None
        if part.token_type in STRINGS:
            return None
        parts.append(part.text if part.token_type == TokenType.IDENTIFIER else part.text.lower())
        if dot is None or dot.token_type != TokenType.DOT:
            break
    return tuple(parts) or None


def is_called(tokens: Sequence[Token], at: int, name: tuple[str, ...]) -> bool:
    """Whether the name is a function's: a parenthesis follows."""
    after = at + 2 * len(name) - 1
    return after < len(tokens) and tokens[after].token_type == TokenType.L_PAREN


def defines_cte(tokens: Sequence[Token], at: int) -> bool:
    """Whether the word at a token is the name of a common table expression."""
    words = [word_of(token) for token in tokens[at + 1 : at + 5]]
    return words[:1] == ["AS"] and "(" in words and set(words[1 : words.index("(")]) <= {"NOT", "MATERIALIZED"}
