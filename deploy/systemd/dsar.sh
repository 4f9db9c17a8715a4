#!/bin/sh
# The operator's commands, run as the units run the program: same user, settings and credential.
# Installed as /usr/local/bin/dsar and, by a link, as /usr/local/bin/dsar-scheduler. For root.
#
#   dsar list
#   dsar-scheduler healthcheck
set -eu

case ${0##*/} in
dsar-scheduler) program=/opt/dsar/venv/bin/dsar-scheduler ;;
*) program=/opt/dsar/venv/bin/dsar ;;
esac

set -- -- "$program" "$@"
credential=/etc/dsar/credentials/DSAR_DATABASE_URL
if [ -e "$credential" ]; then
    set -- --property="LoadCredential=DSAR_DATABASE_URL:$credential" "$@"
fi
# The description, which is the command line otherwise, goes to the journal: a reference or a user's
# id has no place there. With both --pty and --pipe systemd-run takes what fits the terminal.
exec systemd-run --quiet --collect --wait --pty --pipe \
    --description="DSAR operator's command" \
    --uid=dsar --gid=dsar --working-directory=/var/lib/dsar \
    --property=UMask=0077 --property=LimitCORE=0 --property=PrivateTmp=yes \
    --property=NoNewPrivileges=yes \
    --setenv=RUNTIME_DIRECTORY=/run/dsar \
    --setenv=DSAR_EXPORT_ROOT=/var/lib/dsar/exports \
    --property=EnvironmentFile=-/etc/dsar/dsar.env "$@"
