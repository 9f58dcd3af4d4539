"""The client by the name that the original's later programs import: `import Clarens`."""

from nesssi import Fault, ReplyLost, client

__all__ = ["Fault", "ReplyLost", "client"]
