# Parts of a run of checks: `tests/run` and `tests/check` source this. Every part runs even when one before it failed.
# shellcheck shell=bash
# With DRY_RUN set, commands are printed and not run.

RUN_IN=${HOVERBOARD_PREFIX:-/opt/hoverboard}/bin/run-in
SET_UP=${HOVERBOARD_PREFIX:-/opt/hoverboard}/set-up-seconds
LAYERS=(hoverboard controllers topologies experiments console benchmarks)
# A file of tests stays in one process: its tests may share what a fixture made.
TWO=(-n 2 --dist loadfile)
QUICK=(-m "not long")
DRY_RUN=${DRY_RUN:-}
failed=()

begin() { # NAME
    if [ -z "$DRY_RUN" ] && [ ! -x "$RUN_IN" ]; then
        echo "$1: $RUN_IN is missing; call: sudo ./bootstrap.sh test" >&2
        exit 1
    fi
    name_of_all=$1
    reports=$(mktemp -d)
    trap 'rm -rf "$reports"' EXIT
    export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} # run-in's Python does not look into the current directory
    if [ -z "$DRY_RUN" ]; then own_caches; fi
}

own_caches() { # who cannot write the caches that root has made gets some: without them each run would compile again
    local shared=${HOVERBOARD_PREFIX:-/opt/hoverboard}/venv/numba-cache own=${XDG_CACHE_HOME:-$HOME/.cache}/hoverboard
    if [ ! -w "$shared" ] && [ -z "${NUMBA_CACHE_DIR:-}" ]; then
        export NUMBA_CACHE_DIR=$own/numba
        if [ ! -d "$NUMBA_CACHE_DIR" ] && [ -d "$shared" ]; then
            # Only its owner may be able to write a cache that we load. What a run of root has compiled cannot be read.
            (umask 077 && mkdir -p "$own" && cp -r "$shared" "$NUMBA_CACHE_DIR" 2>/dev/null) || true
        fi
    fi
    if [ ! -w . ] || { [ -d .mypy_cache ] && [ ! -w .mypy_cache ]; }; then export MYPY_CACHE_DIR=$own/mypy; fi
}

attempt() { # NAME SECONDS COMMAND...: runs it for so long at the most, and notes how long it took
    local name=$1 limit=$2 from=$SECONDS status=0
    shift 2
    if [ -n "$DRY_RUN" ]; then
        printf '%q ' "$@"
        echo
        return
    fi
    echo "== $name"
    timeout --kill-after=30 "$limit" "$@" || status=$?
    printf '%s\t%d\n' "$name" $((SECONDS - from)) >>"$reports/parts"
    return "$status"
}

part() { # NAME SECONDS COMMAND...: a command of Hoverboard's environment
    local name=$1 limit=$2
    shift 2
    attempt "$name" "$limit" "$RUN_IN" "$@" || failed+=("$name")
}

report() { # NAME: options that have pytest write a report for tests/minutes.py
    printf '%s\n' -o junit_family=xunit1 --junitxml "$reports/$1.xml"
}

static() {
    part "ruff check" 120 ruff check .
    part "ruff format" 120 ruff format --check .
    part "mypy" 600 mypy "${LAYERS[@]}"
}

finish() { # prints what took how long; exit code 0 only when all parts passed
    if [ -z "$DRY_RUN" ]; then "$RUN_IN" python -m tests.minutes "$reports" --set-up "$SET_UP"; fi
    if [ "${#failed[@]}" -gt 0 ]; then
        printf "$name_of_all: failed: %s\n" "${failed[@]}" >&2
        exit 1
    fi
}
