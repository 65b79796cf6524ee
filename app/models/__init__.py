"""The tables as SQLAlchemy models, as they are at the newest revision."""

from app.models.base import Base
from app.models.chatbot import Chatbot
from app.models.conversation import Conversation
from app.models.feedback import Feedback
from app.models.message import Message, MessageRole
from app.models.tenant import Tenant
from app.models.user import Role, User

__all__ = ["Base", "Chatbot", "Conversation", "Feedback", "Message", "MessageRole", "Role", "Tenant", "User"]
