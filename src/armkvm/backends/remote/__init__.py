"""Another machine's KVM, through an agent: ``exec:COMMAND``, ``ssh://host``, ``unix:PATH``."""

from __future__ import annotations

from armkvm.errors import UnknownPlace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from armkvm.backends.remote.client import RemoteSystem, Transport

_SCHEMES = ("exec", "ssh", "unix")


def open_place(uri_rest: str, options: dict[str, str], scheme: str = "exec") -> RemoteSystem:
    """Connect to an agent. `scheme` is ``exec``, ``ssh`` or ``unix``; `uri_rest` what follows it.

    Options: ``timeout``, seconds that one call may take (60); for ssh ``agent``, the command to
    run over there.
    """
    allowed = {"timeout", "agent"} if scheme == "ssh" else {"timeout"}
    unknown = sorted(options.keys() - allowed)
    if unknown:
        raise UnknownPlace(
            f"{scheme}: has no option {', '.join(unknown)}; it has {', '.join(sorted(allowed))}"
        )
    # Late: the agent's side, which lives in this package too, needs none of it.
    from armkvm.backends.remote import transport as transports
    from armkvm.backends.remote.client import CALL_TIMEOUT, RemoteSystem

    timeout = _seconds(options.get("timeout", ""), CALL_TIMEOUT)
    transport: Transport
    if scheme == "exec":
        transport = transports.CommandTransport(transports.command_of_exec(uri_rest))
    elif scheme == "ssh":
        transport = transports.CommandTransport(transports.command_of_ssh(uri_rest, options.get("agent")))
    elif scheme == "unix":
        transport = transports.connect_socket(uri_rest)
    else:
        raise UnknownPlace(f"{scheme}: is no way to an agent; there are {', '.join(_SCHEMES)}")
    return RemoteSystem(f"{scheme}:{uri_rest}", transport, timeout, timeout)


def _seconds(text: str, default: float) -> float:
    if not text:
        return default
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 86400:
        raise UnknownPlace(f"timeout={text}: give seconds, more than 0 and less than a day")
    return seconds
