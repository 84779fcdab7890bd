#!/usr/bin/env bash
# Installs throng as a systemd service, or takes it away again.
#
#   systemd/install.sh [BINARY]       target/release/throng unless it is named
#   systemd/install.sh --uninstall    keeps configuration and data, and says where they are
#
# May be run again: it replaces what is its own, and never /etc/throng/throng.toml.
# DESTDIR=DIR puts everything under DIR instead, for packages and tests: it then needs no root
# and asks nothing of a running systemd.

set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=${DESTDIR:-}
binary_at=/usr/local/bin/throng
units_at=/etc/systemd/system
config_at=/etc/throng

fail() {
    echo "error: $*" >&2
    exit 1
}

# Whether a systemd runs that should hear of what changed.
is_live() {
    [ -z "$root" ] && [ -d /run/systemd/system ]
}

uninstall() {
    if is_live; then
        # What is not there is no failure.
        systemctl disable --now throng.socket throng.service 2>/dev/null || true
    fi
    rm -f "$root$binary_at" "$root$units_at/throng.service" "$root$units_at/throng.socket" \
        "$root$config_at/throng.example.toml"
    if is_live; then
        systemctl daemon-reload
    fi
    echo "throng is uninstalled; kept: $root$config_at/throng.toml and $root/var/lib/throng (remove them by hand)"
    local left
    for left in "$root$units_at"/throng.{service,socket}.d "$root"/etc/sysctl.d/90-throng.*; do
        [ ! -e "$left" ] || echo "kept too: $left"
    done
}

install_all() {
    local binary=$1 is_new=false
    [ -f "$binary" ] || fail "no binary $binary; build one with \`cargo build --release\`, or name it: $0 BINARY"
    [ -x "$binary" ] || fail "$binary cannot be executed; \`chmod +x $binary\`, or name another: $0 BINARY"
    # install(1) makes a new file: a server that runs keeps the old one until it ends.
    install -D -m 0755 "$binary" "$root$binary_at"
    install -D -m 0644 "$here/throng.service" "$root$units_at/throng.service"
    install -D -m 0644 "$here/throng.socket" "$root$units_at/throng.socket"
    install -d -m 0700 "$root$config_at"
    install -m 0644 "$here/../throng.example.toml" "$root$config_at/throng.example.toml"
    if [ ! -e "$root$config_at/throng.toml" ]; then
        is_new=true
        install -m 0600 "$here/../throng.example.toml" "$root$config_at/throng.toml"
    fi
    if is_live; then
        systemctl daemon-reload
    fi
    echo "installed: $root$binary_at, $root$units_at/throng.service and throng.socket"
    if $is_new; then
        echo "configuration: $root$config_at/throng.toml, a new one, for this machine only (127.0.0.1:8000)"
    else
        echo "configuration: $root$config_at/throng.toml, kept as it was; what is new is in throng.example.toml there"
    fi
    echo "next: systemctl enable --now throng        or, once it runs: systemctl restart throng"
}

needs_root() {
    if [ "$(id -u)" -ne 0 ] && [ -z "$root" ]; then
        fail "installing needs root: sudo $0 $*    (or DESTDIR=DIR $0 to stage it)"
    fi
}

case ${1:-} in
    -h | --help)
        sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
        exit 0
        ;;
    --uninstall)
        [ $# -eq 1 ] || fail "--uninstall takes no more arguments"
        needs_root "$@"
        uninstall
        ;;
    -*)
        fail "unknown option $1; usage: $0 [BINARY] | --uninstall"
        ;;
    *)
        [ $# -le 1 ] || fail "one binary at most; usage: $0 [BINARY] | --uninstall"
        needs_root "$@"
        install_all "${1:-${CARGO_TARGET_DIR:-$here/../target}/release/throng}"
        ;;
esac
