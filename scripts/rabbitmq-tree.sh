#!/usr/bin/env bash
# Lays a Debian tree with another RabbitMQ version than the system's, for the tests: root only.
#
#   bash scripts/rabbitmq-tree.sh trixie      RabbitMQ 4.0.5
#   bash scripts/rabbitmq-tree.sh bookworm    RabbitMQ 3.10.8
#
# Prints the tree's path on stdout. About 40 s and 600 MB the first time; afterwards it is there.
# The tree is built beside its place and moved there when whole, so a cut-off run leaves no half tree.
#
# Settings (environment):
#   XDG_CACHE_HOME           the tree goes to stocklog/rabbitmq-SUITE under it (default: ~/.cache)
#   STOCKLOG_DEBIAN_MIRROR   where debootstrap takes packages from (default: its own)
set -euo pipefail

suite=${1:?usage: bash $0 trixie|bookworm}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/stocklog
tree=$cache/rabbitmq-$suite
partial=$tree.partial

say() { printf '%s\n' "$*" >&2; }

# A recursive delete must never reach into a mounted /proc, /dev or a running node's files.
delete_tree() {
  if grep -qF " $1/" /proc/self/mountinfo; then
    say "$0: something is mounted below $1; not deleting it. Look at: grep $1 /proc/self/mountinfo"
    exit 1
  fi
  rm -rf --one-file-system "$1"
}

[ "$(id -u)" = 0 ] || { say "$0: only root can lay and enter such a tree"; exit 1; }
mkdir -p "$cache"
cache=$(readlink -f "$cache") tree=$cache/rabbitmq-$suite partial=$tree.partial
exec 9>"$cache/rabbitmq-$suite.lock"
flock 9

if [ ! -x "$tree/usr/lib/rabbitmq/bin/rabbitmq-server" ]; then
  say "Laying a Debian $suite tree with RabbitMQ in $tree (about 40 s)"
  [ ! -e "$tree" ] || delete_tree "$tree"
  [ ! -e "$partial" ] || delete_tree "$partial"
  log=$partial.log
  if ! debootstrap --variant=minbase --include=rabbitmq-server "$suite" "$partial" \
      ${STOCKLOG_DEBIAN_MIRROR:+"$STOCKLOG_DEBIAN_MIRROR"} >"$log" 2>&1 9>&-; then
    tail -n 20 "$log" >&2
    say "$0: debootstrap failed; its log is $log"
    exit 1
  fi
  rm -rf --one-file-system "$partial/var/cache/apt/archives" "$partial/var/lib/apt/lists"
  mv "$partial" "$tree"
  rm -f "$log"
fi
printf '%s\n' "$tree"
