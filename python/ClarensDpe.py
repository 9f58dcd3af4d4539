"""The client by the name that the original's programs import: `import ClarensDpe as Nesssi`."""

from nesssi import Fault, client
from nesssi.errors import ReplyLost

__all__ = ["Fault", "ReplyLost", "client"]
