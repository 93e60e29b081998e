#!/usr/bin/env bash
# Installs Debian packages without letting them start services: bash apt-install.sh PACKAGE...
#
# Debian's rabbitmq-server starts a node on all interfaces as soon as it is installed and at each
# boot, and Erlang's port mapper (epmd) with it. stocklog runs nodes of its own, on 127.0.0.1, so
# nothing public is wanted. While apt-get works, /usr/sbin/policy-rc.d says 101 ("forbidden"); then
# whatever was there before is put back, also after Ctrl-C, and at the next call if this one was
# killed outright.
#
# Debian's postgresql makes a database cluster when it is installed, and starts it at each boot. While
# apt-get works, a file in createcluster.d says that none is made.
set -euo pipefail

policy=${POLICY_RC_D:-/usr/sbin/policy-rc.d}  # another place for the tests only
saved=$policy.before-stocklog
clusters=${CREATECLUSTER_D:-/etc/postgresql-common/createcluster.d}/stocklog.conf
mark='# temporary, written by stocklog (scripts/apt-install.sh)'

restore_policy() {
  if [ -f "$policy" ] && [ ! -L "$policy" ] && grep -qxF "$mark" "$policy"; then rm -f "$policy"; fi
  if [ -e "$saved" ] || [ -L "$saved" ]; then mv -f "$saved" "$policy"; fi
  rm -f "$clusters"
}

forbid_services() {
  restore_policy  # what a killed run may have left
  if [ -e "$policy" ] || [ -L "$policy" ]; then mv "$policy" "$saved"; fi
  printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >"$policy"
  chmod 755 "$policy"
  case " $* " in
    *" postgresql"*) mkdir -p "${clusters%/*}" && printf '%s\ncreate_main_cluster = false\n' "$mark" >"$clusters" ;;
  esac
}

is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# Services that this call brought stay off at the next boot too; those that were there are left alone.
keep_off_at_boot() {
  local package unit
  for package in "${new[@]}"; do
    is_installed "$package" || continue
    case $package in
      rabbitmq-server) set -- rabbitmq-server.service; update-rc.d rabbitmq-server disable >/dev/null 2>&1 || true ;;
      erlang-base) set -- epmd.service epmd.socket ;;
    esac
    for unit in "$@"; do
      command -v systemctl >/dev/null 2>&1 || continue
      # --root=/ only edits files: it works in a container too, where no systemd answers.
      systemctl --root=/ disable "$unit" >/dev/null 2>&1 || true
      echo "$unit is installed and off (systemctl enable --now $unit turns it on)." >&2
    done
  done
}

new=()
finish() {
  restore_policy
  keep_off_at_boot
}

# Hundreds of lines that nobody reads are kept for the one case in which somebody does.
# The lock and standard input stay ours: a child that lives on must not hold them.
quietly() {
  DEBIAN_FRONTEND=noninteractive "$@" >>"$log" 2>&1 9>&- </dev/null && return 0
  tail -n 30 "$log" >&2
  echo "$0: '$*' failed; all that it said is in $log" >&2
  return 1
}

main() {
  [ "$#" -gt 0 ] || { echo "usage: bash $0 PACKAGE..." >&2; exit 2; }
  [ "$(id -u)" = 0 ] || { echo "$0: must be run as root (sudo bash $0 $*)" >&2; exit 1; }
  exec 9>"$policy.stocklog-lock"
  flock 9  # two calls at once would save each other's policy-rc.d

  local package
  for package in rabbitmq-server erlang-base; do is_installed "$package" || new+=("$package"); done
  trap finish EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  forbid_services "$@"

  log=$(mktemp)
  quietly dpkg --configure -a  # a call that was cut off leaves packages half installed
  quietly apt-get update
  quietly apt-get install -y --no-install-recommends "$@"
  rm -f "$log"
}

main "$@"
