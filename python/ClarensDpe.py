"""The client by the name that the original's programs import: `import ClarensDpe as Nesssi`."""

from nesssi import Fault, ReplyLost, client

__all__ = ["Fault", "ReplyLost", "client"]
