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
    check "without an interface nothing is loaded" sh -c 'nxdp load --config /etc/nxdp/nxdp.toml; [ $? = 2 ]'
}

goes() {
    check "it is removed" dpkg -r nxdp
    check "the configuration stays" test -f /etc/nxdp/nxdp.toml
    check "it is purged" dpkg -P nxdp
    for left in /etc/nxdp /var/lib/nxdp /var/log/nxdp /run/nxdp /usr/bin/nxdp /usr/share/doc/nxdp /sys/fs/bpf/nxdp \
        /usr/lib/systemd/system/nxdp.service /etc/systemd/system/multi-user.target.wants/nxdp.service; do
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
    check "systemd takes the units as they are" systemd-analyze verify --man=no nxdp.service nxdp-load.service nxdp-attach.service
    goes
}

# A client behind the interface that is filtered.
plug() {
    ip link add lan0 type veth peer name wire0 netns client &&
        ip address add 10.77.0.1/24 dev lan0 && ip link set lan0 up &&
        ip -n client address add 10.77.0.2/24 dev wire0 && ip -n client link set wire0 up
}
ask() { ip netns exec client dig @10.77.0.1 "$1" +tries=1 +timeout=1; }
blocked() { ask "$1" | grep -q "status: NXDOMAIN"; }
passes() { ask "$1" | not grep -q "status:"; }
main_pid() { systemctl show --value -p MainPID nxdp.service; }
daemon_is() { # WORD VALUE, in the daemon's status
    grep -q "^$1:[[:space:]]*$2$" "/proc/$(main_pid)/status" || { grep "^$1" "/proc/$(main_pid)/status"; false; }
}
is_another() { [ "$(main_pid)" != "$1" ] && systemctl is-active --quiet nxdp.service; }
filters() { nxdp status | grep -q lan0 && blocked www.blocked.example; }

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
    systemctl show -p NRestarts,MemoryCurrent nxdp.service | tr '\n' ' ' && echo
    ps -o rss= -p "$(main_pid)" | sed 's/^ */daemon RSS KiB: /'
    for unit in nxdp-load nxdp-attach nxdp; do systemd-analyze security --no-pager $unit.service | tail -n 1; done
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
    old=$(main_pid)
    check "an upgrade over it" dpkg -i /nxdp.deb
    check "keeps filtering" filters
    check "with a new daemon" is_another "$old"
    check "and a new keeper" systemctl is-active nxdp-attach.service
}

"$1"
[ "$1" = booted ] || echo end
