"""The tables as SQLAlchemy models, and the functions to select from, as they are at the newest revision."""

from app.models.audit_entry import AuditAction, AuditEntry
from app.models.base import Base
from app.models.chatbot import Chatbot
from app.models.chatbot_tag import ChatbotTag
from app.models.chatbot_version import ChatbotVersion
from app.models.conversation import Conversation
from app.models.feedback import Feedback
from app.models.functions import chatbot_usage, popular_chatbots, tenant_admins, unpublished_chatbots
from app.models.message import Message, MessageRole
from app.models.tenant import Tenant
from app.models.tool import Tool
from app.models.user import Role, User

__all__ = [
    "AuditAction",
    "AuditEntry",
    "Base",
    "Chatbot",
    "ChatbotTag",
    "ChatbotVersion",
    "Conversation",
    "Feedback",
    "Message",
    "MessageRole",
    "Role",
    "Tenant",
    "Tool",
    "User",
    "chatbot_usage",
    "popular_chatbots",
    "tenant_admins",
    "unpublished_chatbots",
]
