"""What all models share: the metadata with PostgreSQL's own constraint names, and the column types that recur."""

from datetime import datetime
from typing import Annotated, ClassVar
from uuid import UUID

from sqlalchemy import DateTime, MetaData, Text, func, text
from sqlalchemy.orm import DeclarativeBase, mapped_column


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


UUIDKey = Annotated[UUID, mapped_column(primary_key=True, server_default=func.gen_random_uuid())]
Timestamp = Annotated[datetime, mapped_column(server_default=func.now())]
"""Set by the database; timezone-aware."""
LABEL = r"{0} ~ '^\S(.*\S)?$' AND char_length({0}) <= 50"
"""What a category or tag must be: trimmed, not blank, not too long."""
FALSE = text("false")
TRUE = text("true")
