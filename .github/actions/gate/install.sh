#!/usr/bin/env bash
# Installs edgetl into an environment of its own, so that neither the job's Python nor the system's is changed.
set -euo pipefail

requirement="${GATE_REQUIREMENT:-}"
if [ "$requirement" = none ]; then
  exit 0
fi
if [ -z "$requirement" ]; then
  root="$(cd "$GITHUB_ACTION_PATH/../../.." && pwd)"
  if ! grep -qs '^name = "edgetl"$' "$root/pyproject.toml"; then
    echo "::error title=edgetl gate::the action lies outside edgetl's repository: name what to install in \`requirement\`"
    exit 2
  fi
  requirement="$root${GATE_EXTRAS:+[$GATE_EXTRAS]}"
fi

environment="$RUNNER_TEMP/edgetl-gate"
# a second gate of the same job finds it installed
if [ "$(cat "$environment/installed" 2>/dev/null)" != "$requirement" ]; then
  python3 -m venv --clear "$environment"
  "$environment/bin/python" -m pip install --quiet --disable-pip-version-check -- "$requirement"
  printf '%s' "$requirement" >"$environment/installed"
fi
