"""For an application's own Alembic on the same database: what its autogenerate leaves alone."""

from sqlalchemy import Column, Constraint, Index, Table
from sqlalchemy.schema import SchemaItem

from app.models import Base


def not_ours(item: SchemaItem, name: str | None, _kind: str, reflected: bool, counterpart: SchemaItem | None) -> bool:
    """Whether something is the application's to compare: for `include_object` of its `context.configure`.

    Whatever is in the database and not in the application's models, it would drop: this keeps from that what this
    package's models know, and the version tables. The application's own models may map the same tables.
    """
    if not reflected or counterpart is not None:
        return True
    if isinstance(item, Table):
        return item.name not in Base.metadata.tables and set(item.columns.keys()) != {"version_num"}
    if not isinstance(item, Column | Index | Constraint) or item.table is None:
        return True
    ours = Base.metadata.tables.get(item.table.name)
    if ours is None:
        return True
    return name not in {each.name for each in (*ours.columns, *ours.indexes, *ours.constraints)}
