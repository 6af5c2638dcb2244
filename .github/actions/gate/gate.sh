#!/usr/bin/env bash
# Runs `edgetl gate` on the inputs, which come as variables GATE_…, and hands what it said to tell.py.
set -euo pipefail

refuse() {
  echo "::error title=edgetl gate::the input \`$1\` $2"
  exit 2
}

is_true() { # NAME VALUE
  case "$2" in
    true) return 0 ;;
    false | "") return 1 ;;
    *) refuse "$1" "is neither true nor false" ;;
  esac
}

option() { # NAME VALUE
  if [ -n "$2" ]; then
    options+=("--$1=$2")
  fi
}

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
if [ "${GATE_REQUIREMENT:-}" != none ]; then
  PATH="$RUNNER_TEMP/edgetl-gate/bin:$PATH"
fi
[ -n "${GATE_BUNDLE:-}" ] || refuse bundle "is empty"
[ -n "${GATE_REPORTS:-}" ] || refuse reports "is empty"
tolerated=""
if is_true report-only "${GATE_REPORT_ONLY:-}"; then
  tolerated="7 8"
fi
options=()
if is_true strict "${GATE_STRICT:-}"; then
  options+=(--strict)
fi
option device "${GATE_DEVICE:-}"
option baseline "${GATE_BASELINE:-}"
option variants "${GATE_VARIANTS:-}"
option data "${GATE_DATA:-}"
while IFS= read -r line; do
  if [ -n "$line" ]; then
    options+=("$line")
  fi
done <<<"${GATE_ARGUMENTS:-}"

mkdir -p -- "$GATE_REPORTS"
reports="$(cd -- "$GATE_REPORTS" && pwd)"
# written elsewhere first: the old report may be the baseline, and must not be taken for the new one
new="$(mktemp -d)"
trap 'rm -rf -- "$new"' EXIT

# Labels and paths of a bundle are printed too; none of them may be read as a command to the runner.
token="$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')"
echo "::stop-commands::$token"
code=0
edgetl gate --out="$new/report.json" --junit="$new/junit.xml" --markdown="$new/summary.md" \
  ${options[@]+"${options[@]}"} -- "$GATE_BUNDLE" 2>"$new/errors" || code=$?
if [ "$code" = 0 ] && [ ! -f "$new/report.json" ]; then # by an argument such as --help
  echo "error: edgetl gate ended without a report" >>"$new/errors"
  code=1
fi
cat -- "$new/errors"
printf '\n::%s::\n' "$token"

if [ ! -f "$new/report.json" ] && [ -f "$reports/report.json" ]; then # perhaps somebody's baseline
  mv -- "$reports/report.json" "$reports/report.previous.json"
fi
for name in report.json junit.xml summary.md; do
  rm -f -- "$reports/$name"
  if [ -f "$new/$name" ]; then
    mv -- "$new/$name" "$reports/$name"
  fi
done
python3 "$here/tell.py" "$reports" "$new/errors" "$code"
case " $tolerated " in
  *" $code "*) exit 0 ;;
esac
exit "$code"
