"""How chatbots are used, and how tenants keep them. Guide: "Chatbot Usage", "Recommended Queries"."""

from collections import Counter
from collections.abc import Iterator

from prometheus_client.metrics_core import Metric
from sqlalchemy import Connection, func, select

from app.metrics.families import gauge
from app.models import Tenant, chatbot_usage, popular_chatbots, tenant_admins, unpublished_chatbots
from app.sight import require_every_row
from app.usage import COUNTED

CHATBOT = ("tenant_id", "chatbot_id")
POSITIVE = "Share of those that are 4 or more, or thumbs up where ratings are -1 and 1, if any"


def families(connection: Connection) -> Iterator[Metric]:
    """The figures of every chatbot and tenant, by the functions of revision 011.

    Raises:
        SetupError: the connection's role does not see every row.
    """
    require_every_row(connection, COUNTED)
    yield from of_chatbots(connection)
    yield popular(connection)
    yield from of_tenants(connection)


def of_chatbots(connection: Connection) -> Iterator[Metric]:
    """A sample of each family for each chatbot; of what it has none of, no sample."""
    info = gauge("chatbot_info", "Names of a chatbot and its tenant", *CHATBOT, "tenant", "chatbot", "published")
    figures = {
        "conversations": gauge("chatbot_conversations", "Conversations with it", *CHATBOT),
        "messages": gauge("chatbot_messages", "Messages of those", *CHATBOT),
        "people": gauge("chatbot_people", "People who had them", *CHATBOT),
        "ratings": gauge("chatbot_ratings", "Ratings of its messages", *CHATBOT),
        "mean_rating": gauge("chatbot_rating_mean", "Mean of those, if any", *CHATBOT),
        "positive_share": gauge("chatbot_rating_positive_ratio", POSITIVE, *CHATBOT),
        "last_used_at": gauge("chatbot_last_used_timestamp_seconds", "When it was last talked to, if ever", *CHATBOT),
    }
    its = chatbot_usage()
    tenant = func.coalesce(Tenant.name, "").label("tenant")
    for row in connection.execute(select(its, tenant).join(Tenant, Tenant.id == its.c.tenant_id)):
        labels = [str(row.tenant_id), str(row.chatbot_id)]
        info.add_metric([*labels, row.tenant, row.chatbot_name, str(row.is_published).lower()], 1)
        for name, family in figures.items():
            value = row._mapping[name]
            if value is not None:
                family.add_metric(labels, value.timestamp() if name == "last_used_at" else value)
    yield info
    yield from figures.values()


def popular(connection: Connection) -> Metric:
    """The ten most used of each tenant."""
    family = gauge("popular_chatbot_place", "Place by conversations within its tenant, 1 to 10", *CHATBOT)
    for row in connection.execute(select(popular_chatbots())):
        family.add_metric([str(row.tenant_id), str(row.chatbot_id)], row.place)
    return family


def of_tenants(connection: Connection) -> Iterator[Metric]:
    """Admins and drafts of each tenant, also of those that have none."""
    admins = gauge("tenant_admins", "Admins, inactive ones apart", "tenant_id", "state")
    drafts = gauge("tenant_unpublished_chatbots", "Chatbots that are not published", "tenant_id")
    unpublished = Counter(connection.scalars(select(unpublished_chatbots().c.tenant_id)))
    for row in connection.execute(select(tenant_admins())):
        admins.add_metric([str(row.tenant_id), "active"], row.active_admins)
        admins.add_metric([str(row.tenant_id), "inactive"], row.admins - row.active_admins)
        drafts.add_metric([str(row.tenant_id)], unpublished[row.tenant_id])
    yield from (admins, drafts)
