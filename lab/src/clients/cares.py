"""What c-ares says to each name, asked one after the other on one channel.

Arguments: udp or tcp, the servers with commas between, the names.
"""

import select
import sys

import pycares


def finish(channel):
    while True:
        readable, writable = channel.getsock()
        if not readable and not writable:
            return
        readable, writable, _ = select.select(readable, writable, [], channel.timeout(1.0))
        for descriptor in readable:
            channel.process_fd(descriptor, pycares.ARES_SOCKET_BAD)
        for descriptor in writable:
            channel.process_fd(pycares.ARES_SOCKET_BAD, descriptor)
        if not readable and not writable:
            channel.process_fd(pycares.ARES_SOCKET_BAD, pycares.ARES_SOCKET_BAD)


def say(result, error):
    if error is None:
        print(*sorted(node.addr[0].decode() for node in result.nodes))
    else:
        print("ARES_" + pycares.errno.errorcode[error].removeprefix("ARES_"))


transport, servers, *names = sys.argv[1:]
channel = pycares.Channel(
    flags=pycares.ARES_FLAG_USEVC if transport == "tcp" else 0,
    servers=servers.split(","),
    timeout=1.0,
    tries=2,
)
for name in names:
    channel.getaddrinfo(name, 53, say)
    finish(channel)
