"""The client by the name that the original's later programs import: `import Clarens`."""

from nesssi import Fault, client
from nesssi.errors import ReplyLost

__all__ = ["Fault", "ReplyLost", "client"]
