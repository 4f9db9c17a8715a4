#!/bin/sh
# Checks the deployment files. Needs systemd-analyze; no root, no running systemd, no container
# engine.
#
#   deploy/check.sh
set -eu

EXPOSURE=20 # in tenths: 2.0, where 10.0 is a service without any protection
case $0 in
*/*) here=${0%/*} ;;
*) here=. ;;
esac
failures=0

fail() {
    printf 'check.sh: %s\n' "$1" >&2
    failures=$((failures + 1))
}

command -v systemd-analyze >/dev/null 2>&1 || {
    echo "check.sh: systemd-analyze is not on the PATH; on Debian: apt-get install systemd" >&2
    exit 1
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# verify refuses a unit whose program is not there, and on a build machine it is not. So it is given
# copies that name a program which is; everything else in them is as it stands.
stub=$(command -v true)
mkdir "$work/units"
for unit in "$here"/systemd/*.service "$here"/systemd/*.timer; do
    [ -e "$unit" ] || { fail "no unit matches $unit"; continue; }
    sed "s|^ExecStart=/opt/dsar/venv/bin/[a-z-]*|ExecStart=$stub|" "$unit" \
        >"$work/units/${unit##*/}"
    case $unit in
    *.service)
        grep -q "^ExecStart=$stub " "$work/units/${unit##*/}" ||
            fail "${unit##*/}: ExecStart= is not a program in /opt/dsar/venv/bin"
        ;;
    esac
done

for copy in "$work"/units/*; do
    name=${copy##*/}
    # Its exit code is 0 for a misspelt key; only stderr tells.
    if ! systemd-analyze verify --man=no "$copy" >/dev/null 2>"$work/stderr" ||
        [ -s "$work/stderr" ]; then
        fail "$name: systemd-analyze verify complains:"
        cat "$work/stderr" >&2
    fi
done

for copy in "$work"/units/*.service; do
    name=${copy##*/}
    if systemd-analyze security --no-pager --offline=true --threshold="$EXPOSURE" "$copy" \
        >"$work/report" 2>&1; then
        tail -n 1 "$work/report"
    else
        fail "$name: its exposure is above the threshold of $EXPOSURE tenths:"
        tail -n 1 "$work/report" >&2
    fi
done

for script in "$here"/check.sh "$here"/install.sh "$here"/systemd/dsar.sh; do
    sh -n "$script" || fail "${script##*/}: a syntax error"
done

# The hardening stands in every service; it must not drift apart.
hardening() {
    sed -n '/^# -- Hardening/,/^\[Install\]/p' "$1" | grep '^[A-Z]' || true
}
hardening "$here/systemd/dsar-scheduler.service" >"$work/hardening"
[ -s "$work/hardening" ] || fail "dsar-scheduler.service: no hardening found"
for unit in "$here"/systemd/*.service; do
    hardening "$unit" >"$work/other"
    cmp -s "$work/hardening" "$work/other" || {
        fail "the hardening of dsar-scheduler.service and ${unit##*/} differs:"
        diff "$work/hardening" "$work/other" >&2 || true
    }
done

# The image is built from public names alone: no registry, mirror or package index of somebody's.
containerfile="$here/container/Containerfile"
if [ -r "$containerfile" ]; then
    sed -n 's/^ARG BASE=//p' "$containerfile" | grep -Eq '^docker\.io/library/[a-z0-9.:_-]+$' ||
        fail "Containerfile: the default of ARG BASE is not an official image of docker.io"
    sed -n 's/^FROM \([^ ]*\).*/\1/p' "$containerfile" >"$work/from"
    [ -s "$work/from" ] || fail "Containerfile: no FROM"
    # shellcheck disable=SC2016  # the literal text is what is looked for
    if grep -vxF '${BASE}' "$work/from" >&2; then
        fail "Containerfile: the lines above are bases that ARG BASE does not name"
    fi
    if grep -nEi 'https?://|index-url|find-links|trusted-host' "$containerfile" |
        grep -v 'LABEL\|org\.opencontainers\|^[0-9]*:#' >&2; then
        fail "Containerfile: the lines above name an address or a package index"
    fi
    for wanted in '^USER [1-9][0-9]*' '^STOPSIGNAL SIGTERM$' '^HEALTHCHECK ' \
        '^ENTRYPOINT \["' '^CMD \["run"\]$'; do
        grep -Eq "$wanted" "$containerfile" || fail "Containerfile: no line matches $wanted"
    done
else
    fail "$containerfile is not there"
fi

if [ "$failures" -gt 0 ]; then
    echo "check.sh: $failures check(s) failed" >&2
    exit 1
fi
echo "deploy: all checks passed"
