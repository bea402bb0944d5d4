"""The gateway's address: a socket on it, or the sentence that says why there is none."""

import socket

from chartgate.config import WebConfig
from chartgate.errors import ConfigError


def bind(web: WebConfig) -> socket.socket:
    """A socket on the address. Raises ConfigError if the port is taken or may not be used."""
    family = socket.AF_INET6 if ":" in web.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((web.host, web.port))
    except (OSError, ValueError, TypeError) as error:  # the last two: a name that is none
        bound.close()
        raise cannot_listen(web, error) from error
    return bound


def cannot_listen(web: WebConfig, error: Exception) -> ConfigError:
    """The sentence for whoever set the address."""
    reason = error.strerror if isinstance(error, OSError) else "this is no address"
    return ConfigError(
        f"cannot listen on {web.host}:{web.port} ({reason}); "
        "stop what uses it, or set another port under [web]"
    )
