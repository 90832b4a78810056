# The checks of the installed package, inside a system of its own: sh checks.sh PART.
# A line each, `ok` or `FAILED`; the last line is `end`.

check() { # TITLE COMMAND...
    title=$1
    shift
    if said=$("$@" 2>&1); then echo "ok  $title"; else echo "FAILED  $title: $said" | tr '\n' ' ' && echo; fi
}
not() { ! "$@"; }
mode_is() { [ "$(stat -c '%a %U %G' "$2")" = "$1" ] || { stat -c '%a %U %G %n' "$2"; false; }; }
within() { # SECONDS COMMAND...
    tries=$(($1 * 5))
    shift
    while ! "$@"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.2
    done
}

installs() {
    check "the package installs" dpkg -i /nxdp.deb
    check "its user exists and cannot log in" sh -c 'getent passwd nxdp | grep -q nologin$'
    check "it tells its version" nxdp --version
    check "the configuration passes" nxdp check --config /etc/nxdp/nxdp.toml
    check "a name can be asked about" nxdp query --config /etc/nxdp/nxdp.toml example.org
    check "program" mode_is "755 root root" /usr/bin/nxdp
    check "configuration" mode_is "644 root root" /etc/nxdp/nxdp.toml
    check "state" mode_is "750 nxdp nxdp" /var/lib/nxdp
    check "units" test -f /usr/lib/systemd/system/nxdp.service
    check "licences of what is linked in" grep -q "MIT" /usr/share/doc/nxdp/THIRD-PARTY.txt
    check "bash can read its completions" bash -n /usr/share/bash-completion/completions/nxdp
    check "its configuration is the usual one" nxdp check
    check "without an interface nothing is loaded" sh -c 'nxdp load; [ $? = 2 ]'
    cp /etc/nxdp/blocked.txt /blocked.before
    sed -i '/^[^#]/d' /etc/nxdp/blocked.txt
    check "the one name in it may be deleted" nxdp check
    cp /blocked.before /etc/nxdp/blocked.txt
}

goes() {
    check "it is removed" dpkg -r nxdp
    check "the configuration stays" test -f /etc/nxdp/nxdp.toml
    check "it is purged" dpkg -P nxdp
    for left in /etc/nxdp /var/lib/nxdp /var/log/nxdp /run/nxdp /usr/bin/nxdp /usr/share/doc/nxdp /sys/fs/bpf/nxdp \
        /usr/lib/systemd/system/nxdp.service /usr/lib/systemd/system/nxdp-room.path /etc/systemd/system/multi-user.target.wants/nxdp.service; do
        check "$left is gone" not test -e $left -o -L $left
    done
    check "the user is gone" not getent passwd nxdp
    check "dpkg knows nothing of it" not dpkg -s nxdp
}

minimal() {
    check "there is no systemd" not command -v systemd-sysusers
    installs
    goes
}

with_systemd() {
    installs
    check "the man page renders" sh -c 'man -P cat nxdp | grep -q "DNS filter inside the Linux kernel"'
    check "so does each command's" sh -c 'for page in /usr/share/man/man1/nxdp-*; do man -P cat "$page" >/dev/null || exit 1; done'
    check "nothing is enabled" sh -c 'for unit in nxdp nxdp-load nxdp-attach; do [ "$(systemctl is-enabled $unit.service)" = disabled ] || exit 1; done'
    check "systemd takes the units as they are" systemd-analyze verify --man=no nxdp.service nxdp-load.service nxdp-attach.service nxdp-room.path nxdp-room.service
    goes
}

# A client behind the interface that is filtered.
plug() {
    ip link add lan0 type veth peer name wire0 netns client &&
        ip address add 10.77.0.1/24 dev lan0 && ip link set lan0 up &&
        ip -n client address add 10.77.0.2/24 dev wire0 && ip -n client link set wire0 up
}
ask() { ip netns exec client dig @10.77.0.1 "$1" +tries=1 +timeout=1; }
blocked() { ask "$1" | tr '\n' ' ' | grep -Eq "status: (NXDOMAIN|NOERROR).* ANSWER: 0,"; }
passes() { ask "$1" | not grep -q "status:"; }
main_pid() { systemctl show --value -p MainPID nxdp.service; }
daemon_is() { # WORD VALUE, in the daemon's status
    grep -q "^$1:[[:space:]]*$2$" "/proc/$(main_pid)/status" || { grep "^$1" "/proc/$(main_pid)/status"; false; }
}
is_another() { [ "$(main_pid)" != "$1" ] && systemctl is-active --quiet nxdp.service; }
filters() { nxdp status | grep -q lan0 && blocked www.blocked.example; }
# The program on the interface, as the kernel tells it: number and when it was loaded.
program() { ip -d -j link show lan0 | sed 's/.*"prog":{"id":\([0-9]*\).*"load_time":\([0-9]*\).*/\1 \2/'; }
is_new_program() { # THE ONE BEFORE
    set -- "$1" "$(program)"
    [ "$1" != "$2" ] && [ "${2#* }" -gt "${1#* }" ] && nxdp status | grep -q "^program  *${2% *} "
}

booted() {
    mkdir -p /sys/fs/bpf && mount -t bpf -o mode=700 bpf /sys/fs/bpf
    dpkg -i /nxdp.deb >/dev/null 2>&1
    check "installing starts nothing" not systemctl is-active --quiet nxdp-load.service nxdp.service nxdp-attach.service
    check "without an interface it does not start" not systemctl start nxdp.service
    ip netns add client
    check "an interface with a client" plug
    sed -i 's/^#interfaces.*/interfaces = ["lan0"]/; s/^#mode.*/mode = "skb"/' /etc/nxdp/nxdp.toml
    echo 'blocked.example' >>/etc/nxdp/blocked.txt
    check "the configuration passes" nxdp check --config /etc/nxdp/nxdp.toml
    check "one command starts it, for good" systemctl enable --now nxdp.service nxdp-attach.service
    if ! systemctl is-active --quiet nxdp.service; then
        journalctl --no-pager -o cat -u nxdp-load.service -u nxdp.service -u nxdp-attach.service | sed 's/^/journal: /'
        echo "FAILED  the rest, for want of a daemon"
        echo end
        return
    fi
    for unit in nxdp-load nxdp nxdp-attach; do
        check "$unit is active" systemctl is-active $unit.service
        check "$unit is enabled" systemctl is-enabled $unit.service
    done
    check "as packaged it only observes" passes www.blocked.example
    sed -i 's/^observe = true/observe = false/' /etc/nxdp/nxdp.toml
    check "a reload has it block" systemctl reload nxdp.service
    check "a blocked name is answered" within 5 blocked www.blocked.example
    check "another one passes" passes www.example.org
    for set in CapInh CapPrm CapEff CapBnd CapAmb; do
        check "the daemon has no capability ($set)" daemon_is $set 0000000000000000
    done
    check "it can gain none" daemon_is NoNewPrivs 1
    check "its system calls are filtered" daemon_is Seccomp 2
    check "it runs as its own user" [ "$(ps -o user= -p "$(main_pid)")" = nxdp ]
    calls
    survives
    upgrades
    without_daemon
    refused
    grows
    systemctl show -p NRestarts,MemoryCurrent nxdp.service | tr '\n' ' ' && echo
    ps -o rss= -p "$(main_pid)" | sed 's/^ */daemon RSS KiB: /'
    for unit in nxdp-load nxdp-room nxdp-attach nxdp; do systemd-analyze security --no-pager $unit.service | tail -n 1; done
    goes
    check "nothing is on the interface" sh -c '! ip link show lan0 | grep -q xdp'
    check "the name is not answered any more" passes www.blocked.example
    check "nothing of it runs" not pgrep -x nxdp
    echo end
}

# What the daemon does under its filter of system calls, none of which may be refused.
calls() {
    strace -f -p "$(main_pid)" -o /calls 2>/dev/null &
    tracer=$!
    sleep 1
    echo 'late.example' >>/etc/nxdp/blocked.txt
    check "a list that changes is taken over" within 10 blocked late.example
    check "an override" nxdp allow www.blocked.example --for 1h --reason trial
    check "it is in force" passes www.blocked.example
    check "and is taken back" nxdp override remove 1
    check "blocked again" within 2 blocked www.blocked.example
    check "metrics" sh -c 'nxdp metrics | grep -q nxdp_packets_total'
    kill $tracer
    wait $tracer 2>/dev/null
    check "system calls were seen" sh -c '[ "$(wc -l </calls)" -gt 100 ] && grep -q "bpf(" /calls'
    check "none was refused" not grep -E "EPERM|ENOSYS|SIGSYS" /calls
}

survives() {
    old=$(main_pid)
    kill -9 "$old"
    check "the daemon dies, the filter stays" blocked www.blocked.example
    check "the daemon comes back" within 10 is_another "$old"
    check "and knows the filter" within 5 filters
    mkdir -p /run/systemd/system/nxdp.service.d
    printf '[Service]\nWatchdogSec=2\n' >/run/systemd/system/nxdp.service.d/watchdog.conf
    systemctl daemon-reload && systemctl restart nxdp.service
    old=$(main_pid)
    kill -STOP "$old"
    check "the daemon hangs, the filter stays" blocked www.blocked.example
    check "the watchdog notices and starts another" within 20 is_another "$old"
    old=$(main_pid)
    check "one that works is left alone" sh -c "sleep 5; [ \$(systemctl show --value -p MainPID nxdp.service) = $old ]"
    ip link del lan0
    check "the interface comes back" plug
    check "and is filtered again" within 10 blocked www.blocked.example
}

# Each load must put a new program in force, and take nothing else with it.
upgrades() {
    for round in first second third; do
        before=$(program)
        check "the $round reload of the load unit" systemctl reload nxdp-load.service
        check "puts a new program in force" within 5 is_new_program "$before"
    done
    old=$(main_pid)
    before=$(program)
    check "a restart of the load unit" systemctl restart nxdp-load.service
    check "does so, too" within 5 is_new_program "$before"
    check "and takes no daemon with it" [ "$(main_pid)" = "$old" ]
    before=$(program)
    sleep 1
    upgraded=$(date +%s)
    check "an upgrade over it" dpkg -i /nxdp-next.deb
    check "whose version is another" sh -c 'dpkg -s nxdp | grep -q "^Version: .*+next"'
    check "whose load does not fail" not sh -c "journalctl -u nxdp-load.service --since=@$upgraded | grep -i fail"
    check "and is told in the journal" sh -c "journalctl -u nxdp-load.service --since=@$upgraded | grep -q 'loaded over the maps'"
    check "whose program is the one in force" within 5 is_new_program "$before"
    check "keeps filtering" filters
    check "with a new daemon" is_another "$old"
    check "and a new keeper" systemctl is-active nxdp-attach.service
}

without_daemon() {
    systemctl stop nxdp.service
    check "the daemon is stopped, the filter stays" blocked www.blocked.example
    check "status tells what is in force" sh -c 'nxdp status | grep -q "^process  *none" && nxdp status | grep -q "lan0 (skb)"'
    check "an override works without a daemon" nxdp allow www.blocked.example --reason trial
    check "at once" passes www.blocked.example
    check "the journal is the daemon's" mode_is "600 nxdp nxdp" /var/lib/nxdp/overrides
    check "a pause does" sh -c 'nxdp pause --for 1h && nxdp resume'
    check "root fetches nothing into the daemon's way" sh -c 'nxdp update; [ -z "$(find /var/lib/nxdp ! -user nxdp)" ]'
    check "the daemon starts" systemctl start nxdp.service
    check "and goes on with the override" sh -c 'nxdp overrides | grep -q www.blocked.example'
    passes www.blocked.example || echo "FAILED  the override is lost"
    number=$(nxdp overrides | sed -n 's/^#\([0-9]*\) .*/\1/p')
    check "which can be removed" nxdp override remove "$number"
}

# An interface that another program has.
refused() {
    ip link add broken0 type veth peer name broken1 && ip link set broken0 up
    check "another filter has an interface" nxdp load -i broken0 --pins /sys/fs/bpf/other --state /tmp/other
    sed -i 's/^interfaces.*/interfaces = ["broken0", "lan0"]/' /etc/nxdp/nxdp.toml
    systemctl stop nxdp-attach.service nxdp.service nxdp-load.service
    nxdp unload
    check "the daemon starts though one interface refuses" systemctl start nxdp.service nxdp-attach.service
    check "the load unit is active" systemctl is-active nxdp-load.service
    check "the other interface is filtered" within 5 blocked www.blocked.example
    check "status tells of the first" sh -c 'nxdp status | grep -q "broken0 (NOT FILTERED"'
    check "a reload of the load unit succeeds" systemctl reload nxdp-load.service
    check "still filtered" blocked www.blocked.example
    nxdp unload --pins /sys/fs/bpf/other
    check "the keeper takes the first when it is free" within 10 sh -c 'nxdp status | grep -q "broken0 (skb)"'
    sed -i 's/^interfaces.*/interfaces = ["lan0"]/' /etc/nxdp/nxdp.toml
    ip link del broken0
}

serve() { # HOW MANY NAMES
    awk -v n="$1" 'BEGIN { for (i = 0; i < n; i++) print "n" i ".outgrown.example" }' >/served/big.new
    mv /served/big.new /served/big.txt
}
all_blocked() { blocked "n$(($1 - 1)).outgrown.example"; }

# A first start with a list by URL, on a machine that begins with the smallest table.
grows() {
    mkdir -p /served /run/systemd/system/nxdp-load.service.d
    ip netns add lists
    ip link add up0 type veth peer name list0 netns lists
    ip address add 10.78.0.1/24 dev up0 && ip link set up0 up
    ip -n lists address add 10.78.0.2/24 dev list0 && ip -n lists link set list0 up
    key="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
    openssl req -x509 $key -days 30 -subj /CN=ours -keyout /ca.key -out /etc/nxdp/ca.pem 2>/dev/null
    printf 'subjectAltName=IP:10.78.0.2\nbasicConstraints=CA:FALSE\n' >/served.ext
    openssl req $key -subj /CN=lists -keyout /served.key -out /served.csr 2>/dev/null
    openssl x509 -req -in /served.csr -CA /etc/nxdp/ca.pem -CAkey /ca.key -CAcreateserial -days 30 \
        -extfile /served.ext -out /served.pem 2>/dev/null
    cat >/serve.py <<'END'
import functools, http.server, ssl
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory="/served")
server = http.server.ThreadingHTTPServer(("10.78.0.2", 8443), handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/served.pem", "/served.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
END
    ip netns exec lists python3 /serve.py >/dev/null 2>&1 &
    server=$!
    printf '[[list]]\nurl = "https://10.78.0.2:8443/big.txt"\nname = "big"\nformat = "domains"\n\n[fetch]\nca_file = "ca.pem"\nallow_private = ["10.78.0.2/32"]\n' >>/etc/nxdp/nxdp.toml
    # Nothing of the lists so far.
    sed -i 's/^path = "blocked.txt"/path = "none.txt"/' /etc/nxdp/nxdp.toml && : >/etc/nxdp/none.txt
    printf '[Service]\nExecStart=\nExecStart=/usr/bin/nxdp load --absent-ok --table-bytes 1048576\n' >/run/systemd/system/nxdp-load.service.d/small.conf
    systemctl daemon-reload
    systemctl stop nxdp-attach.service nxdp.service nxdp-load.service
    nxdp unload
    rm -rf /var/lib/nxdp/*
    serve 250000
    check "the machine starts for the first time" systemctl start nxdp.service nxdp-attach.service
    started=$(date +%s)
    check "250,000 names are blocked without a person" within 60 all_blocked 250000
    echo "250,000 names blocked after $(($(date +%s) - started)) s, $(nxdp status | grep ^generation)"
    serve 750000
    started=$(date +%s)
    check "the list triples" nxdp update
    check "750,000 names are blocked without a person" within 60 all_blocked 750000
    echo "750,000 names blocked after $(($(date +%s) - started)) s, $(nxdp status | grep ^generation)"
    check "nothing is left to ask for" within 5 sh -c '! nxdp status | grep -q "^room\|^last reload"'
    check "all of it belongs to the daemon" sh -c '[ -z "$(find /var/lib/nxdp ! -user nxdp)" ]'
    systemctl stop nxdp-attach.service nxdp.service nxdp-load.service
    nxdp unload
    check "after a boot they are blocked before the daemon runs" sh -c 'systemctl start nxdp-load.service'
    all_blocked 750000 || echo "FAILED  the list is not in force after a boot"
    rm -r /run/systemd/system/nxdp-load.service.d && systemctl daemon-reload
    check "and go on with it" systemctl start nxdp.service nxdp-attach.service
    kill $server
    sed -i 's/^path = "none.txt"/path = "blocked.txt"/' /etc/nxdp/nxdp.toml
    rm -f /etc/nxdp/none.txt /etc/nxdp/ca.pem /etc/nxdp/ca.srl
}

"$1"
[ "$1" = booted ] || echo end
