#!/bin/sh
# Installs this release on a machine with systemd: user, program, settings, units, commands.
#
#   deploy/install.sh [WHEEL]
#
# As root, from an unpacked release. Without a WHEEL the program is built from here. Starts nothing
# and migrates nothing; what is there already is kept, so it may be run again, and it is also how an
# upgrade is installed. The way back is /opt/dsar/releases/VERSION/deploy/install.sh. pip's own variables (PIP_INDEX_URL and so on) are respected.
set -eu

fail() {
    printf 'install.sh: %s\n' "$1" >&2
    exit 1
}

here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
wheel=${1-}
if [ $# -gt 1 ] || [ "${wheel#-}" != "$wheel" ]; then
    fail "usage: deploy/install.sh [WHEEL]"
fi
[ "$(id -u)" = 0 ] || fail "run it as root: it makes a user, and writes to /opt, /etc and /var/lib"
[ -r "$here/requirements.lock" ] || fail "$here is no unpacked release: requirements.lock is missing"
command -v systemctl >/dev/null || fail "there is no systemd here; see deploy/container instead"
python3 -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "Python 3.11 or newer with venv is needed; on Debian: apt-get install python3-venv"
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$here/pyproject.toml")
if [ -n "$wheel" ]; then
    [ -r "$wheel" ] || fail "there is no wheel at $wheel"
    case ${wheel##*/} in
    levqor_dsar-"$version"-*.whl) ;;
    *) fail "$wheel is not this release's, which is $version" ;;
    esac
fi

release=/opt/dsar/releases/$version
if [ "$(readlink /opt/dsar/venv || true)" != "$release" ]; then
    # A running program loads modules as it needs them; it must not meet another release's.
    for unit in dsar-scheduler.service 'dsar-scheduler@*.service' dsar-sweep.service; do
        case $(systemctl list-units --no-legend --state=active,activating "$unit" 2>/dev/null) in
        '') ;;
        *) fail "$unit is running; stop it first (it drains): systemctl stop '$unit'" ;;
        esac
    done
fi

umask 022
id -u dsar >/dev/null 2>&1 ||
    useradd --system --user-group --home-dir /var/lib/dsar --shell /usr/sbin/nologin dsar
install -d -m 0755 /opt/dsar /opt/dsar/releases /etc/dsar
install -d -m 0700 /etc/dsar/credentials
install -d -m 0700 -o dsar -g dsar /var/lib/dsar

# Every dependency by its hash; the build backend is one of them. The mark is set at the end: an
# installation that was cut off is begun anew.
if [ -e "$release/complete" ]; then
    echo "levqor-dsar $version is installed in $release already; kept"
else
    rm -rf "$release"
    python3 -m venv "$release"
    "$release/bin/pip" --disable-pip-version-check --quiet install \
        --require-hashes --only-binary :all: -r "$here/requirements.lock"
    "$release/bin/pip" --disable-pip-version-check --quiet install \
        --no-build-isolation --no-deps "${wheel:-$here}"
    "$release/bin/dsar" --version
    touch "$release/complete"
fi
# Beside the program, what belongs to it outside: a rollback runs the copy of this script there.
if [ "$here" != "$release" ]; then
    rm -rf "$release/deploy"
    cp -R "$here/deploy" "$release/deploy"
    cp "$here/requirements.lock" "$here/pyproject.toml" "$release"
fi
ln -sfn "$release" /opt/dsar/venv

if [ -e /etc/dsar/dsar.env ]; then
    echo "/etc/dsar/dsar.env is there already; kept. New settings: deploy/dsar.env.example"
else
    install -m 0600 "$here/deploy/dsar.env.example" /etc/dsar/dsar.env
fi
install -m 0644 "$here"/deploy/systemd/dsar-*.service "$here"/deploy/systemd/dsar-*.timer \
    /etc/systemd/system/
install -d -m 0755 /usr/local/bin
install -m 0755 "$here/deploy/systemd/dsar.sh" /usr/local/bin/dsar
ln -sf dsar /usr/local/bin/dsar-scheduler
# Where systemd does not run (an image that is being built) there is nothing to reload.
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi

cat <<'NEXT'
Installed. Next:
  editor /etc/dsar/dsar.env                  # name the database: DSAR_DATABASE_URL
  dsar migrate                               # once per database and release
  systemctl enable --now dsar-scheduler      # or: dsar-sweep.timer
  dsar-scheduler healthcheck
NEXT
