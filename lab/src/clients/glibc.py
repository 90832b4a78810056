"""What getaddrinfo of the C library says to each name: addresses, or the name of the error."""

import socket
import sys

ERRORS = {getattr(socket, name): name for name in dir(socket) if name.startswith("EAI_")}

for name in sys.argv[1:]:
    try:
        found = socket.getaddrinfo(name, 53, type=socket.SOCK_STREAM)
        print(*sorted({address[0] for *_, address in found}))
    except socket.gaierror as error:
        print(ERRORS[error.errno])
