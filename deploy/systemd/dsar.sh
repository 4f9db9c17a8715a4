#!/bin/sh
# The operator's commands, run as the units run the program: same user, settings and credential.
# Installed as /usr/local/bin/dsar and, by a link, as /usr/local/bin/dsar-scheduler. For root. A link
# with the name of an instance runs them as dsar-scheduler@NAME.service does.
#
#   dsar list
#   dsar-scheduler healthcheck
#   dsar@blue list
set -eu

called=${0##*/}
case $called in
*@*) settings=/etc/dsar/${called#*@}.env own=-${called#*@} ;;
*) settings=-/etc/dsar/dsar.env own= ;;
esac
case $called in
dsar-scheduler*) program=/opt/dsar/venv/bin/dsar-scheduler ;;
*) program=/opt/dsar/venv/bin/dsar ;;
esac

# The shell asks for the names of commands and options: that needs no settings, and no unit.
if [ -n "${_DSAR_COMPLETE:-}${_DSAR_SCHEDULER_COMPLETE:-}" ]; then
    exec "$program" "$@"
fi

# Each file is a setting. What stands in owner/ is for `dsar migrate`, and is left out otherwise.
credentials=/etc/dsar/credentials$own
[ "${1-}" = migrate ] && owner="$credentials/owner" || owner=
set -- -- "$program" "$@"
for file in "$credentials"/DSAR_* ${owner:+"$owner"/DSAR_*}; do
    name=${file##*/}
    [ -f "$file" ] || continue
    if [ -n "$owner" ] && [ "${file%/*}" != "$owner" ] && [ -f "$owner/$name" ]; then
        continue
    fi
    set -- --property="LoadCredential=$name:$file" "$@"
done
# The description, which is the command line otherwise, goes to the journal: a reference or a user's
# id has no place there. With both --pty and --pipe systemd-run takes what fits the terminal.
exec systemd-run --quiet --collect --wait --pty --pipe \
    --description="DSAR operator's command" \
    --uid=dsar --gid=dsar --working-directory="/var/lib/dsar$own" \
    --property=StateDirectory="dsar$own" --property=StateDirectoryMode=0700 \
    --property=UMask=0077 --property=LimitCORE=0 --property=PrivateTmp=yes \
    --property=NoNewPrivileges=yes \
    --setenv=RUNTIME_DIRECTORY="/run/dsar$own" \
    --setenv=DSAR_EXPORT_ROOT="/var/lib/dsar$own/exports" \
    --property=EnvironmentFile="$settings" "$@"
