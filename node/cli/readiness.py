"""Tells systemd that the service is ready or stops (`Type=notify`): see sd_notify(3). Elsewhere it does nothing."""

import os
import socket


def notify(state: str) -> None:
    """Send a state such as `READY=1`; a service manager that cannot be told does not keep the node from running."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.connect(address)
            sender.sendall(state.encode())
    except OSError:
        return
