# The other scripts source this file. It runs stages, prints their duration, and counts the results.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
export CACHE=${CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/behalf}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$CACHE/target}
# CI builds everything once, and incremental state is a third of the target folder.
[ -z "${CI:-}" ] || export CARGO_INCREMENTAL=0
export ARTIFACTS=${ARTIFACTS:-$root/artifacts}
mkdir -p "$CACHE" "$ARTIFACTS"
tally=${TALLY:-}
[ -n "$tally" ] || { tally=$(mktemp); trap 'rm -f "$tally"' EXIT; }
export TALLY=$tally

# stage NAME COMMAND...: counts one pass or failure. Writes the output to a log and shows its end on failure.
stage() {
  local name=$1 start=$SECONDS log status=0
  shift
  log="$ARTIFACTS/${name// /-}.log"
  echo "=> $name"
  if [ -n "${VERBOSE:-}" ]; then "$@" 2>&1 | tee "$log" || status=$?; else "$@" >"$log" 2>&1 || status=$?; fi
  if [ "$status" -eq 0 ]; then echo "1 0 0" >>"$tally"; else
    echo "0 1 0" >>"$tally"
    tail -60 "$log"
  fi
  took "$name" "$start" "$status"
  return "$status"
}

# tests NAME COMMAND...: adds the counts of the last lines of the test runner (cargo test or nextest). Shows failures and
# skips.
tests() {
  local name=$1 start=$SECONDS log status=0
  shift
  log="$ARTIFACTS/${name// /-}.log"
  echo "=> $name"
  "$@" >"$log" 2>&1 || status=$?
  # A runner that stopped before its last line counts as a failure.
  if [ "$status" -ne 0 ] && ! grep -qE '^test result: FAILED|^ *Summary \[.* [0-9]+ (failed|timed out)' "$log"; then
    echo "0 1 0" >>"$tally"
  fi
  sed -nE 's/^test result: [A-Za-z]+\. ([0-9]+) passed; ([0-9]+) failed; ([0-9]+) ignored.*/\1 \2 \3/p' "$log" >>"$tally"
  grep -E '^ *Summary \[' "$log" | nextest_counts >>"$tally"
  grep -E '^(SKIPPED: |test .* (ignored|FAILED)|  (FAIL|TIMEOUT|SIGABRT|SIGSEGV) )' "$log" | sort --unique || true
  [ "$status" -eq 0 ] || { grep -nE '^(error|failures:|---- )' "$log" | head -40; tail -80 "$log"; }
  took "$name" "$start" "$status"
  return "$status"
}

# Reads nextest's summary, such as "3 tests run: 1 passed (1 slow), 1 failed, 1 timed out, 2 skipped". Tests outside the
# default filter do not count as skipped, because another command runs them. --run-ignored is not used.
nextest_counts() {
  awk '{
    passed = failed = 0
    gsub(/\([^)]*\)/, "")
    for (i = 2; i <= NF; i++) {
      if ($i ~ /^passed/) passed += $(i - 1)
      if ($i ~ /^(failed|timed|exec)/) failed += $(i - 1)
    }
    print passed, failed, 0
  }'
}

# skip NAME REASON: counts one skipped test.
skip() {
  echo "SKIPPED: $1: $2"
  echo "0 0 1" >>"$tally"
}

took() {
  local seconds=$((SECONDS - $2)) word=ok
  [ "$3" -eq 0 ] || word=FAILED
  printf '   %s: %s in %d min %02d s\n' "$1" "$word" $((seconds / 60)) $((seconds % 60))
}

# Prints the last line: passed, failed, skipped.
summary() {
  awk '{p += $1; f += $2; s += $3} END {printf "%d passed, %d failed, %d skipped\n", p, f, s; exit f > 0}' "$tally"
}
