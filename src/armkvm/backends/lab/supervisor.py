"""Runs a command for as long as its owner lives: ``supervisor.py OWNER_PID LIFELINE_FD COMMAND...``.

The owner holds the other end of the lifeline, a pipe. The command is killed when that end
closes, or when the owner dies although a child of its still holds a copy. It dies with the
supervisor, too, where there is a setpriv to ask for that. Uses nothing of armkvm, so that it
starts in milliseconds.
"""

from __future__ import annotations

import os
import select
import signal
import sys


def main(owner: int, lifeline: int, command: list[str]) -> int:
    """Run the command; its exit code."""
    os.set_inheritable(lifeline, False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        owner_fd = os.pidfd_open(owner)
    except ProcessLookupError:
        return 1
    me = os.getpid()
    child = os.fork()
    if child == 0:
        _become(command, me)
    child_fd = os.pidfd_open(child)
    watch = select.poll()
    for fd in (lifeline, owner_fd, child_fd):
        watch.register(fd, select.POLLIN)
    ready = {fd for fd, _ in watch.poll()}
    if child_fd not in ready:
        signal.pidfd_send_signal(child_fd, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) & 0xFF


# Asks for death with the parent, then looks whether the parent was still there when that was granted.
_MORTAL = ("setpriv", "--pdeathsig", "KILL", "--", "sh", "-c", '[ "$PPID" = "$0" ] && exec "$@"')


def _become(command: list[str], parent: int) -> None:
    """Run the command in this process, which is to live no longer than its parent."""
    try:
        try:
            os.execvp(_MORTAL[0], [*_MORTAL, str(parent), *command])  # noqa: S606 - the owner's words
        except FileNotFoundError:
            os.execvp(command[0], command)  # noqa: S606
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
