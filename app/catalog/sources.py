"""Which relations the text of a function names where it reads or changes rows, or the rights to them."""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from sqlglot import Token, TokenError, TokenType
from sqlglot.dialects import Postgres

Relation = tuple[str, str]
"""Schema and name."""

READS = {"FROM", "JOIN", "USING"}  # a relation follows, and after a comma another one
CHANGES = {"UPDATE", "INTO", "TRUNCATE", "COPY", "LOCK", "TABLE", "ON"}
NO_RELATION = {  # words before one of those, after which none follows
    "FROM": {"DISTINCT"},
    "UPDATE": {"FOR", "KEY", "ON", "DO", "BEFORE", "AFTER", "OR"},
    "TABLE": {"CREATE", "TEMP", "TEMPORARY", "UNLOGGED"},
}
ONLY_AFTER = {"INTO": {"INSERT", "MERGE"}}  # or it is a variable's
ONLY_WITH = {  # another word earlier in the statement
    "USING": {"DELETE", "MERGE"},
    "ON": {"GRANT", "REVOKE", "POLICY", "RULE"},
}
BEFORE_COLUMNS = {"INTO", "COPY", "ON"}  # where a parenthesis after the name makes it no function's
BETWEEN = {"ONLY", "LATERAL", "TABLE", "IF", "NOT", "EXISTS"}
END_OF_LIST = {"WHERE", "GROUP", "ORDER", "HAVING", "LIMIT", "SET", "VALUES", "RETURNING", "SELECT", "LOOP", "UNION"}
RUN = {"EXECUTE", "DBLINK", "DBLINK_EXEC", "TS_STAT", "CROSSTAB"} | {  # what runs a string, or takes a name in one
    f"{what}_TO_XML{schema}" for what in ("QUERY", "TABLE", "CURSOR") for schema in ("", "SCHEMA", "_AND_XMLSCHEMA")
}
END_OF_RUN = {";", "USING", "INTO", "LOOP"}
QUOTES = {"QUOTE_LITERAL", "QUOTE_NULLABLE"}  # what they return is a value, not SQL
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
        is_run: whether the body is what EXECUTE runs, or a part of it.
    """
    if not words_found(body, known) and not re.search(r"\\|u&", body, re.IGNORECASE):
        return set()  # unless a letter is written by its number
    try:
        tokens = Postgres().tokenize(body)
    except TokenError:  # what is no SQL may be some other language's way to run it
        return words_found(body, known)
    names = list(named(tokens, reading_only=reading_only))
    if is_run and (whole := name_at(tokens, 0)) and len(tokens) == 2 * len(whole) - 1:
        names.append(whole)  # such as format's argument for %I
    found = {(schema, name[-1]) for name in names for schema in (name[-2:-1] or path)} & set(known)
    runs_text = is_run or any(token.text.upper() in RUN for token in tokens)
    running = is_run  # whether we are in what is run, or in what may become that
    for at, token in enumerate(tokens):
        word, before = word_of(token), tokens[at - 1].token_type if at else TokenType.SEMICOLON
        if token.token_type in STRINGS and (is_rest := before in Postgres.Tokenizer.COMMANDS) | runs_text:
            # The rest of some statements is left to us as one string.
            its = relations_named(token.text, known, path, reading_only=reading_only, is_run=is_rest or running)
            found |= its
        running = (running or word in RUN or token.token_type == TokenType.COLON_EQ) and word not in END_OF_RUN
    return found


def words_found(body: str, known: Collection[Relation]) -> set[Relation]:
    """The relations whose names stand anywhere in a text, of whichever language."""
    words = set(re.findall(r"\w+", body.lower()))
    return {relation for relation in known if words.issuperset(re.findall(r"\w+", relation[1].lower()))}


def runs_argument(body: str, arguments: Collection[str]) -> bool:
    """Whether a function runs SQL that it makes of one of its arguments, or that is one."""
    given = {argument.upper() for argument in arguments if argument} | {"$1"}
    try:
        tokens = Postgres().tokenize(body)
        for at, token in enumerate(tokens):
            if word_of(token) in RUN:
                rest = tokens[at + 1 :]
                if rest and token.token_type in Postgres.Tokenizer.COMMANDS and rest[0].token_type in STRINGS:
                    rest = Postgres().tokenize(rest[0].text)  # the rest of the statement, left to us as one string
                if makes_sql_of(rest, given):
                    return True
    except TokenError:
        pass
    return False


def makes_sql_of(tokens: Sequence[Token], given: Collection[str]) -> bool:
    """Whether the expression that begins here has an argument in it, other than as a quoted value."""
    ends = (at for at, token in enumerate(tokens) if word_of(token) in END_OF_RUN)
    expression = tokens[: next(ends, len(tokens))]
    formats = [token.text for token in expression if token.token_type in STRINGS]
    if formats and word_of(expression[0]) == "FORMAT" and not re.search(r"%(\d+\$)?-?\d*[sI]", " ".join(formats)):
        return False  # %L alone
    words = [token.text.upper() for token in expression if token.token_type not in STRINGS]
    return any(
        word in given or "".join(words[at : at + 2]) in given
        for at, word in enumerate(words)
        if not QUOTES & set(words[max(at - 2, 0) : at])
    )


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


@dataclass
class Statement:
    """What is known of a statement so far.

    Args:
        inside: its open parentheses, and outside of all.
        ctes: the common table expressions that may be named by now.
        words: what it said, in capitals.
        leading: the last word after which a relation was expected.
    """

    inside: list[Parenthesis] = field(default_factory=lambda: [Parenthesis()])
    ctes: set[str] = field(default_factory=set)
    words: set[str] = field(default_factory=set)
    leading: str = ""


def named(tokens: Sequence[Token], *, reading_only: bool) -> Iterator[tuple[str, ...]]:
    """The names that stand where a relation does, as their parts; not those of common table expressions."""
    statement, expected = Statement(), False
    for at, token in enumerate(tokens):
        here = statement.inside[-1]
        word, before = word_of(token), word_of(tokens[at - 1]) if at else ""
        match token.token_type:
            case TokenType.SEMICOLON:
                statement, expected = Statement(), False
            case TokenType.L_PAREN:
                is_call = (
                    bool(at) and not expected and before not in BETWEEN | END_OF_LIST and bool(name_at(tokens, at - 1))
                )
                statement.inside.append(Parenthesis(expected, is_call, cte_before(tokens, at)))
                if "RECURSIVE" in statement.words:
                    statement.ctes.add(statement.inside[-1].cte)
            case TokenType.R_PAREN:
                statement.ctes.add(here.cte)
                statement.inside = statement.inside[:-1] or [Parenthesis()]
                expected = False
            case TokenType.COMMA:
                expected = here.lists
            case _ if before == ".":
                pass  # a part of a name
            case _ if expected and word not in BETWEEN | READS | CHANGES | END_OF_LIST:
                name = name_at(tokens, at)
                is_function = statement.leading not in BEFORE_COLUMNS and name and is_called(tokens, at, name)
                if name and not is_function and (len(name) > 1 or name[0] not in statement.ctes):
                    yield name
                expected = False
            case _ if word in READS | CHANGES and not (expected and word in BETWEEN):
                expected = leads_to_relation(word, before, statement, reading_only=reading_only)
                here.lists = (here.lists and word != "INTO") or (expected and word in READS)
                statement.leading = word
            case _ if word in END_OF_LIST:
                here.lists = expected = False
        here.selects |= word in {"SELECT", "DELETE"}
        statement.words.add(word)


def leads_to_relation(word: str, before: str, statement: Statement, *, reading_only: bool) -> bool:
    """Whether a relation follows a word that may stand before one."""
    if before in NO_RELATION.get(word, ()) or before not in ONLY_AFTER.get(word, {before}):
        return False
    if word in ONLY_WITH and not ONLY_WITH[word] & statement.words:
        return False
    here = statement.inside[-1]
    if word == "FROM" and ((here.is_call and not here.selects) or (reading_only and before == "DELETE")):
        return False
    return word in READS or not reading_only or word == "TABLE"


def word_of(token: Token) -> str:
    """An unquoted word in capitals, the first of ORDER BY, or whatever else the token is."""
    return '"' if token.token_type == TokenType.IDENTIFIER else token.text.upper().partition(" ")[0]


def name_at(tokens: Sequence[Token], at: int) -> tuple[str, ...] | None:
    """The parts of the name that begins at a token, if one does."""
    parts = []
    while at < len(tokens):
        part = tokens[at]
        is_quoted = part.token_type == TokenType.IDENTIFIER
        if part.token_type in STRINGS or not (is_quoted or re.fullmatch(r"[^\W\d][\w$]*", part.text)):
            return None
        parts.append(part.text if is_quoted else part.text.lower())
        if at + 1 == len(tokens) or tokens[at + 1].token_type != TokenType.DOT:
            break
        at += 2
    return tuple(parts) or None


def is_called(tokens: Sequence[Token], at: int, name: tuple[str, ...]) -> bool:
    """Whether the name is a function's: a parenthesis follows."""
    after = at + 2 * len(name) - 1
    return after < len(tokens) and tokens[after].token_type == TokenType.L_PAREN


def cte_before(tokens: Sequence[Token], at: int) -> str:
    """The name of the common table expression that begins with the parenthesis at a token, or ""."""
    at -= 1
    while at > 0 and word_of(tokens[at]) in {"NOT", "MATERIALIZED"}:
        at -= 1
    if at < 1 or word_of(tokens[at]) != "AS":
        return ""
    at -= 1
    if tokens[at].token_type == TokenType.R_PAREN:  # its columns
        while at > 0 and tokens[at].token_type != TokenType.L_PAREN:
            at -= 1
        at -= 1
    return (name_at(tokens, at) or ("",))[-1]
