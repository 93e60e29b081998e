#!/usr/bin/env bash
# Fuzzes what reads bytes of others: frames, chunks, AMQP messages, JSON bodies, feeds.
#   scripts/fuzz.sh               two minutes a target: ten in all
#   scripts/fuzz.sh 5             five seconds a target
#   scripts/fuzz.sh 60 chunk amqp   only these
# Coverage-guided by Atheris, which is fetched for this alone; where it has no wheel the inputs are
# random changes of the seeds, and the output says so. Bounds: 10 s and 256 MB more an input, 2 GB in
# all. What is found is kept in $STOCKLOG_FUZZ_KEEP (default: the current folder). Exit status 1 then.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/setup.sh
need_uv

ATHERIS=atheris==3.0.0    # wheels: Linux, Python 3.11 to 3.13; Apache-2.0
seconds=${1:-120}
case $seconds in ''|*[!0-9]*) fail "'$seconds' is no number of seconds" "See the head of $0.";; esac
[ $# -eq 0 ] || shift
keep=${STOCKLOG_FUZZ_KEEP:-$PWD}
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(frames chunk amqp codec feeds)

run=(uv run --quiet --no-sync)
if "${run[@]}" --no-build-package atheris --with "$ATHERIS" python -c 'import atheris' 2>/dev/null; then
  run+=(--no-build-package atheris --with "$ATHERIS")
else
  say "NOTE: $ATHERIS is not to be had here: random changes of the seeds, WITHOUT coverage."
fi

status=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for target in "${targets[@]}"; do
  # A hang inside native code is ended from outside.
  if timeout --kill-after=10 $((seconds + 120)) "${run[@]}" python tests/fuzz/run.py "$target" \
      --seconds "$seconds" --keep "$keep" >"$log" 2>&1; then
    say "$target: $(sed -nE 's/^(Done [0-9]+ runs.*|.*inputs at random.*|stat::peak_rss_mb: *[0-9]+)$/\1/p' "$log" | sed "s/^$target: //" | paste -sd ' ')"
  else
    say "$target: FOUND SOMETHING (or could not run):"
    tail -n 40 "$log" >&2
    status=1
  fi
done
exit $status
