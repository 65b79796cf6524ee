"""What all models share: the metadata with PostgreSQL's own constraint names, and the column types that recur."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar
from uuid import UUID

from sqlalchemy import DateTime, Dialect, Integer, MetaData, String, Text, Uuid, func, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import DeclarativeBase, mapped_column
from sqlalchemy.types import TypeEngine, UserDefinedType

POSTGRESQL: Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]


class Base(DeclarativeBase):
    """Base of every model; its metadata is what `alembic check` compares the database with."""

    metadata = MetaData(
        naming_convention={
            "pk": "%(table_name)s_pkey",
            "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
            "uq": "%(table_name)s_%(column_0_N_name)s_key",
            "ck": "%(table_name)s_%(constraint_name)s_check",
        }
    )
    type_annotation_map: ClassVar = {str: Text, datetime: DateTime(timezone=True)}


class Uncast(UserDefinedType[Any]):
    """The type of a column that an adopted platform may have with another type.

    SQLAlchemy casts each parameter to the type that the model states, and the server then refuses `bigint = uuid` or
    rounds a rating of 4.5. Parameters of this type have no cast: values pass both ways as the driver has them, and the
    server compares them as the column's own type does.

    Args:
        plain: the type on a fresh install, which `alembic check` compares.
    """

    cache_ok = True

    def __init__(self, plain: TypeEngine[Any]) -> None:
        """Keep the type."""
        self.plain = plain

    def get_col_spec(self, **_: object) -> str:
        """The type in DDL."""
        return self.plain.compile(dialect=POSTGRESQL)

    def literal_processor(self, dialect: Dialect) -> Callable[[Any], str]:
        """Values as SQL: strings of no type."""
        quoted: Callable[[str], str] = String().literal_processor(dialect)  # type: ignore[no-untyped-call]
        return lambda value: quoted(str(value))


class Moment(Uncast):
    """A time with a time zone. An adopted platform's column may have none (`timestamp`): it is taken for UTC."""

    cache_ok = True

    def __init__(self) -> None:
        """State the type of a fresh install."""
        super().__init__(DateTime(timezone=True))

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any] | None:
        """Send text: as what it is read depends on the column alone, not on the session's TimeZone."""
        return in_utc if dialect.driver == "psycopg" else None

    def literal_processor(self, dialect: Dialect) -> Callable[[Any], str]:
        """The same text as SQL."""
        quoted = super().literal_processor(dialect)
        return lambda value: quoted(in_utc(value))

    def result_processor(self, _dialect: Dialect, _type: object) -> Callable[[Any], Any]:
        """Read a time without a zone as UTC."""
        return as_utc


def in_utc(value: Any) -> Any:
    """A time as text, in UTC: what `timestamp` and `timestamptz` read alike. Anything else as it is."""
    aware = isinstance(value, datetime) and value.tzinfo is not None
    return value.astimezone(UTC).isoformat(" ") if aware else value


def as_utc(value: Any) -> Any:
    """A time without a zone as one in UTC. Anything else as it is."""
    naive = isinstance(value, datetime) and value.tzinfo is None
    return value.replace(tzinfo=UTC) if naive else value


# In Python numbers, texts and times stay what they are, so that SQLAlchemy knows what adding to them comes to.
ANY_NUMBER = Integer().with_variant(Uncast(Integer()), POSTGRESQL.name)
ANY_TEXT = Text().with_variant(Uncast(Text()), POSTGRESQL.name)
"""Text, citext or an enum."""
ANY_ROLE = String(50).with_variant(Uncast(String(50)), POSTGRESQL.name)
ANY_TIME = DateTime(timezone=True).with_variant(Moment(), POSTGRESQL.name)

UUIDKey = Annotated[UUID, mapped_column(primary_key=True, server_default=func.gen_random_uuid())]
UUIDOrIntegerKey = Annotated[
    UUID, mapped_column(Uncast(Uuid()), primary_key=True, server_default=func.gen_random_uuid())
]
"""An int where an adopted platform's ids are integers."""
Timestamp = Annotated[datetime, mapped_column(ANY_TIME, server_default=func.now())]
"""Set by the database; timezone-aware."""
LABEL = r"{0} ~ '^\S(.*\S)?$' AND char_length({0}) <= 50"
"""What a category or tag must be: trimmed, not blank, not too long."""
FALSE = text("false")
TRUE = text("true")
