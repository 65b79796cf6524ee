<%
    title = " ".join(message.split()).replace("\\", "\\\\").replace('"""', '\\"\\"\\"')  # as text of a docstring
%>"""${title}: say in half a line what for.

What: the objects that this step adds or changes, and why.
Locks: each lock on each existing table, and for how long.
Downgrade: what comes back, and what is lost (LOSSES counts it; see app/migration/steps.py, also for OBSTACLES and WARNINGS).

Revision: ${up_revision}
Revises: ${down_revision | comma,n}
Created: ${create_date}
"""

% if "sa." in (upgrades or "") + (downgrades or ""):
import sqlalchemy as sa
% endif
from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
% if "op." in (upgrades or ""):
    op.execute("SET LOCAL search_path = public")  # autogenerate names no schema: spell it out, and drop this line
% endif
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
% if "op." in (downgrades or ""):
    op.execute("SET LOCAL search_path = public")
% endif
    ${downgrades if downgrades else "pass"}
