"""What dnspython says to the addresses of each name.

Arguments: udp or tcp, the names. The servers are those of /etc/resolv.conf.
"""

import sys

import dns.exception
import dns.resolver


def answer(resolver, name, tcp):
    found = []
    for record_type in ("A", "AAAA"):
        try:
            found += [data.to_text() for data in resolver.resolve(name, record_type, tcp=tcp)]
        except dns.exception.DNSException as error:
            found.append(type(error).__name__)
    return sorted(set(found))


transport, *names = sys.argv[1:]
resolver = dns.resolver.Resolver()
resolver.timeout = 1
resolver.lifetime = 3
for name in names:
    print(*answer(resolver, name, transport == "tcp"))
