#!/usr/bin/env bash
# Installs Debian packages without letting them start services: bash apt-install.sh PACKAGE...
#
# Debian's rabbitmq-server starts a node on all interfaces as soon as it is installed, and at each
# boot. stocklog runs nodes of its own, on 127.0.0.1, so nothing public is wanted. While apt-get
# works, /usr/sbin/policy-rc.d says 101 ("forbidden"); then whatever was there before is put back,
# also after Ctrl-C, and at the next call if this one was killed outright.
set -euo pipefail

policy=/usr/sbin/policy-rc.d
saved=$policy.before-stocklog
mark='# temporary, written by stocklog (scripts/apt-install.sh)'

restore_policy() {
  if [ -f "$policy" ] && [ ! -L "$policy" ] && grep -qxF "$mark" "$policy"; then rm -f "$policy"; fi
  if [ -e "$saved" ] || [ -L "$saved" ]; then mv -f "$saved" "$policy"; fi
}

forbid_services() {
  restore_policy  # what a killed run may have left
  if [ -e "$policy" ] || [ -L "$policy" ]; then mv "$policy" "$saved"; fi
  printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >"$policy"
  chmod 755 "$policy"
}

# A service that we brought stays off at the next boot too; one that was there is left alone.
keep_off_at_boot() {
  if command -v systemctl >/dev/null 2>&1; then
    systemctl disable rabbitmq-server.service >/dev/null 2>&1 || true
  fi
  update-rc.d rabbitmq-server disable >/dev/null 2>&1 || true
}

has_rabbitmq() { [ "$(dpkg-query -W -f '${db:Status-Status}' rabbitmq-server 2>/dev/null)" = installed ]; }

main() {
  [ "$#" -gt 0 ] || { echo "usage: bash $0 PACKAGE..." >&2; exit 2; }
  [ "$(id -u)" = 0 ] || { echo "$0: must be run as root (sudo bash $0 $*)" >&2; exit 1; }
  exec 9>/run/stocklog-apt.lock
  flock 9  # two calls at once would save each other's policy-rc.d

  local had_rabbitmq=no
  has_rabbitmq && had_rabbitmq=yes
  trap restore_policy EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  forbid_services

  # The lock and standard input stay ours: a child that lives on must not hold them.
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q 9>&- </dev/null
  apt-get install -q -y --no-install-recommends "$@" 9>&- </dev/null

  if [ "$had_rabbitmq" = no ] && has_rabbitmq; then
    keep_off_at_boot
    echo "RabbitMQ is installed; its system service is off (systemctl enable --now rabbitmq-server turns it on)."
  fi
}

main "$@"
