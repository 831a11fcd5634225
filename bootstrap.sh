#!/usr/bin/env bash
# Sets a machine or a user up for Hoverboard, or removes it again: `./bootstrap.sh --help` says how.
#
# It installs Debian packages, makes a virtual environment with pinned packages and this checkout, compiles the fast path,
# and puts `hoverboard` on the PATH. With --user it installs no Debian packages, and writes to the user's own folders alone.
# It is safe to repeat: what is there already is left alone. It never starts, stops or restarts the distribution's own
# Open vSwitch: a policy keeps every service as it is while packages are installed.
set -Eeuo pipefail

TYPED_PATH=$PATH
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
CHECKOUT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# What this script makes in PREFIX, apart from the environment and the mark.
MADE=(bin/run-in bin/run-in.new installed requirements.txt checkout compiled set-up-seconds debian-packages)
POLICY=/usr/sbin/policy-rc.d
POLICY_MARK="# hoverboard-bootstrap: removed when it ends"
PACKAGES=(mininet openvswitch-switch iperf3 iputils-ping ethtool tcpdump iproute2 util-linux ca-certificates)
PYTHON=/usr/bin/python3
TESTS="# --- what \`bootstrap.sh test\` adds" # the line of constraints.txt before the packages of tests
FROM_SOURCE=ovs # packages without wheels, which setup code of their own builds
NEED_MB=2048 # the environment is 0.7 GB, and as much again while it is unpacked
APT_SECONDS=900
PIP_SECONDS=1200

report() { printf 'bootstrap: %s\n' "$*"; }
warn() { printf 'bootstrap: warning: %s\n' "$*" >&2; }
die() {
    printf 'bootstrap: error: %s\n' "$*" >&2
    exit 1
}

usage() {
    cat <<EOF
usage: sudo ./bootstrap.sh demo|test [--ha]   for all users of this machine
       ./bootstrap.sh demo|test --user        for yourself alone, without root, where the Debian packages are installed
       sudo ./bootstrap.sh packages [--ha]    the Debian packages alone: what --user needs of an administrator
       [sudo] ./bootstrap.sh uninstall [--user]

  demo       what \`hoverboard\` needs
  test       the same, etcd, and what the tests need
  uninstall  removes the environment and the command; Debian packages stay
  --ha       etcd as well, for \`hoverboard up --store etcd\`

  variable           names                for all users                      with --user
  HOVERBOARD_PREFIX  the environment      /opt/hoverboard                    ~/.local/share/hoverboard
  HOVERBOARD_BIN     the command's folder /usr/local/bin                     ~/.local/bin
  HOVERBOARD_LOG     what the tools print /var/log/hoverboard-bootstrap.log  ~/.local/state/hoverboard/bootstrap.log
EOF
}

wrong_usage() {
    usage >&2
    exit 2
}

# shellcheck source=bootstrap/user.sh
. "$CHECKOUT/bootstrap/user.sh"
# shellcheck source=bootstrap/removal.sh
. "$CHECKOUT/bootstrap/removal.sh"

# --- what must be true before anything is touched -----------------------------------------------------------------

check_release() {
    local id version codename
    # shellcheck disable=SC1091
    id=$(. /etc/os-release && echo "${ID:-}") || id=
    # shellcheck disable=SC1091
    version=$(. /etc/os-release && echo "${VERSION_ID:-}")
    # shellcheck disable=SC1091
    codename=$(. /etc/os-release && echo "${PRETTY_NAME:-unknown system}")
    case "$id:$version" in
        debian:12 | debian:13 | ubuntu:24.04) PACKAGES+=(python3 python3-venv) ;;
        # Its python3 is 3.10. The project needs 3.11, which Ubuntu has too. Mininet is plain Python and works with both.
        ubuntu:22.04) PYTHON=/usr/bin/python3.11 PACKAGES+=(python3.11 python3.11-venv) ;;
        *) die "$codename is not supported; use Debian 12 or 13, or Ubuntu 22.04 or 24.04 (vagrant/ makes such a machine)" ;;
    esac
}

need_space() { # DIRECTORY: dies when its file system has less than NEED_MB free
    local directory=$1 free
    while [ ! -d "$directory" ]; do directory=$(dirname "$directory"); done
    free=$(df --output=avail -m "$directory" | tail -n 1 | tr -d ' ')
    [ "$free" -ge "$NEED_MB" ] ||
        die "no space: $free MB free at $directory, $NEED_MB MB needed; make room, or set HOVERBOARD_PREFIX to another disk"
}

is_ours() { # whether this script has made what is in PREFIX
    [ ! -f "$MARK" ] || return 0
    # Before there was a mark: the command for the tests, and an environment with Hoverboard in it, or none.
    grep -qsF "Hoverboard's environment: " "$PREFIX/bin/run-in" || return 1
    [ ! -e "$VENV" ] || compgen -G "$VENV/lib/python3*/site-packages/hoverboard-*.dist-info" >/dev/null
}

mark_prefix() { # dies when the files in PREFIX are those of others
    local name
    if ! is_ours; then
        for name in venv "${MADE[@]}"; do
            [ ! -e "$PREFIX/$name" ] ||
                die "$PREFIX/$name was not made by this script; remove it, or set HOVERBOARD_PREFIX to another folder"
        done
    fi
    mkdir -p "$PREFIX"
    [ -f "$MARK" ] || echo "bootstrap.sh of Hoverboard made venv/ and what it needs; 'bootstrap.sh uninstall' removes them" >"$MARK"
}

check_checkout() { # warns when others can change what root, or with --user this user, will run
    local owners=(! -uid 0) groups=(! -gid 0) who=root command="sudo hoverboard" others folder found
    if [ -n "$user" ]; then
        owners+=(! -uid "$(id -u)") groups+=(! -gid "$(id -g)") who=you command=hoverboard
    fi
    if [[ -z "$user" && "${SUDO_UID:-}" =~ ^[0-9]+$ ]]; then owners+=(! -uid "$SUDO_UID"); fi
    if [[ -z "$user" && "${SUDO_GID:-}" =~ ^[0-9]+$ ]]; then groups+=(! -gid "$SUDO_GID"); fi
    others=(! -type l "(" "(" "${owners[@]}" ")" -o -perm -o=w -o "(" -perm -g=w "${groups[@]}" ")" ")" -print -quit)
    found=$(find "$CHECKOUT" "${others[@]}" 2>/dev/null || true) # a folder that cannot be read is nobody's source
    [ -z "$found" ] || warn "other users can write $found: whoever does is $who at the next '$command'"
    folder=$CHECKOUT
    while [ "$folder" != / ] && folder=$(dirname "$folder"); do
        [ -z "$(find "$folder" -maxdepth 0 "${others[@]}")" ] || warn "$CHECKOUT is below $folder, which other users" \
            "can write: whoever puts another folder in its place is $who at the next '$command'; move it, and repeat"
    done
}

take_lock() {
    (umask 077 && mkdir -p "$(dirname "$LOCK")" && : >>"$LOCK" && chmod 600 "$LOCK") # who can open it can hold it, and so keep root from setting up
    exec 9>>"$LOCK"
    flock -n 9 || die "another bootstrap runs (process $(tail -n 1 "$LOCK" 2>/dev/null || echo unknown)); wait for it to end"
    : >"$LOCK"
    echo $$ >&9
}

# --- running the tools: quiet, bounded, and explained when they fail ---------------------------------------------

log_size() { stat -c %s "$LOG" 2>/dev/null || echo 0; }

quietly() { # WHAT SECONDS COMMAND...: into the log; one clear line when it fails
    local what=$1 seconds=$2 begin status=0 output
    shift 2
    begin=$(log_size)
    printf '\n$ %s\n' "$*" >>"$LOG"
    # Not in the background and without --foreground, so that the time-out ends the children of the tool too.
    timeout --kill-after=10 "$seconds" "$@" >>"$LOG" 2>&1 </dev/null 9>&- || status=$?
    [ "$status" -ne 0 ] || return 0
    output=$(tail -c "+$((begin + 1))" "$LOG")
    case "$output" in
        *"No space left on device"* | *"Disk quota exceeded"* | *"not have enough free space"* | *"You don't have enough free space"*)
            die "$what: no space left on the disk; make room and call bootstrap again (details: $LOG)" ;;
        *"Could not get lock"*)
            die "$what: another package manager is at work; let it end and call bootstrap again (details: $LOG)" ;;
        *"dpkg was interrupted"*)
            die "$what: an earlier package installation was cut short; run 'dpkg --configure -a' and call bootstrap again" ;;
    esac
    if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
        die "$what: no answer within $seconds s; check the network (or the proxy) and call bootstrap again (details: $LOG)"
    fi
    if grep -qiE 'certificate.verify.failed|certificate verification failed' <<<"$output"; then
        die "$what: the package registry's certificate is not trusted here; check the clock, the proxy and ca-certificates (details: $LOG)"
    fi
    if grep -qiE 'could not resolve|temporary failure|connection (refused|reset|timed out|failed)|could not connect|cannot initiate the connection|failed to fetch|connecttimeout|newconnectionerror|read timed out|max retries|failed to establish|proxyerror|sslerror|unable to connect|network is unreachable' <<<"$output"; then
        die "$what: the package registry does not answer; check the network (or the proxy) and call bootstrap again (details: $LOG)"
    fi
    die "$what failed (status $status): $(grep -E '^(E:|ERROR|error)|Error:' <<<"$output" | tail -n 1 || true) (details: $LOG)"
}

# --- Debian packages ----------------------------------------------------------------------------------------------

missing_packages() {
    local package
    for package in "${PACKAGES[@]}"; do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || echo "$package"
    done
}

remove_policy() { # only ours: a policy that another program made stays
    if [ -f "$POLICY" ] && grep -qxF "$POLICY_MARK" "$POLICY" 2>/dev/null; then rm -f "$POLICY"; fi
}

put_policy() {
    if [ -e "$POLICY" ]; then
        local answer=0
        "$POLICY" openvswitch-switch start >/dev/null 2>&1 </dev/null || answer=$?
        [ "$answer" -eq 101 ] ||
            die "$POLICY exists and would let Open vSwitch be started; install openvswitch-switch yourself, then call bootstrap again"
        return
    fi
    # In one step: a policy cut short could be read as "allowed".
    printf '#!/bin/sh\n%s\nexit 101\n' "$POLICY_MARK" >"$POLICY.hoverboard"
    chmod 755 "$POLICY.hoverboard"
    mv "$POLICY.hoverboard" "$POLICY"
}

install_packages() {
    local missing
    mapfile -t missing < <(missing_packages)
    if [ "${#missing[@]}" -eq 0 ]; then return; fi
    report "installing Debian packages: ${missing[*]}"
    need_space /usr
    need_space /var/cache/apt
    local apt=(env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 LC_ALL=C apt-get -q -y
        -o Acquire::http::Timeout=30 -o Acquire::https::Timeout=30 -o Acquire::Retries=1 -o DPkg::Lock::Timeout=120)
    # Other repositories of this machine may not answer. What counts is whether our packages are available.
    quietly "reading the package lists" "$APT_SECONDS" "${apt[@]}" update
    local package
    for package in "${missing[@]}"; do
        # The update returns 0 even if no registry answered. Then the packages are unknown.
        [[ "$(LC_ALL=C apt-cache policy "$package" 2>/dev/null)" =~ Candidate:\ [^\(] ]] ||
            die "package $package is not available: the package registry does not answer, or Ubuntu's 'universe' is not enabled (details: $LOG)"
    done
    put_policy
    quietly "installing Debian packages" "$APT_SECONDS" "${apt[@]}" install --no-install-recommends --no-upgrade "${missing[@]}"
    remove_policy
    printf '%s\n' "${missing[@]}" >>"$PREFIX/debian-packages" # for `uninstall`, which names them
    # A run starts its own etcd members. The service of the package, which is new here, must not start at the next boot.
    if [[ " ${missing[*]} " == *" etcd-server "* ]] && [ -d /run/systemd/system ]; then
        quietly "keeping etcd's own service from starting" 60 systemctl disable etcd.service
    fi
}

# --- Python -------------------------------------------------------------------------------------------------------

digest() { sha256sum | cut -c 1-16; }

pip_install() { # WHAT ARGUMENTS...
    local what=$1
    shift
    quietly "$what" "$PIP_SECONDS" "$VENV/bin/python" -I -m pip install --disable-pip-version-check --no-input \
        --root-user-action=ignore --timeout 30 --retries 2 --no-build-isolation --use-pep517 --no-user ${user:+--no-cache-dir} "$@"
}

install_hashed() { # FILE: the packages of a part of constraints.txt; each file has one of the hashes there, or pip stops
    pip_install "installing Python packages" --require-hashes --only-binary :all: --no-binary "$FROM_SOURCE" --requirement "$1"
}

packages_of() { # demo|test|setuptools: a part of constraints.txt
    case "$1" in
        demo) awk -v tests="$TESTS" '$0 == tests { exit } { print }' "$CHECKOUT/constraints.txt" ;;
        test) cat "$CHECKOUT/constraints.txt" ;;
        setuptools) awk '/^setuptools==/ { on = 1 } on { print } on && !/\\$/ { exit }' "$CHECKOUT/constraints.txt" ;;
    esac
}

make_environment() { # MODE
    local mode=$1 wanted installed list=$PREFIX/requirements.txt
    if ! "$VENV/bin/python" -I -c 'import pip' >/dev/null 2>&1; then
        report "making a virtual environment in $VENV"
        need_space "$PREFIX"
        quietly "making a virtual environment" 120 "$PYTHON" -I -m venv --system-site-packages "$VENV"
    fi

    wanted="$({ packages_of demo && "$PYTHON" -I -V; } | digest)"
    if [ "$mode" = test ]; then wanted="$wanted $(packages_of test | digest)"; fi
    installed=$(cat "$PREFIX/installed" 2>/dev/null || true)
    # "A B" (with test's) also satisfies "A".
    if [ "$installed" != "$wanted" ] && [ "${installed%% *}" != "$wanted" ]; then
        report "installing Python packages (versions and hashes in constraints.txt)"
        need_space "$PREFIX"
        rm -f "$PREFIX/installed"
        # setuptools first: then building packages fetches nothing outside constraints.txt.
        packages_of setuptools >"$list" && install_hashed "$list"
        packages_of "$mode" >"$list" && install_hashed "$list"
        echo "$wanted" >"$PREFIX/installed"
    fi

    wanted="$CHECKOUT $(cat "$CHECKOUT/setup.cfg" "$CHECKOUT/pyproject.toml" "$CHECKOUT/hoverboard/__init__.py" | digest)"
    if [ "$(cat "$PREFIX/checkout" 2>/dev/null || true)" != "$wanted" ] || [ ! -x "$VENV/bin/hoverboard" ]; then
        report "installing hoverboard from $CHECKOUT"
        pip_install "installing hoverboard" --no-index --no-deps --editable "$CHECKOUT"
        echo "$wanted" >"$PREFIX/checkout"
    fi
}

write_if_new() { # FILE: standard input becomes FILE, which can be executed, in one step
    local file=$1 text
    text=$(cat)
    if [ -f "$file" ] && [ "$(cat "$file")" = "$text" ]; then return; fi
    printf '%s\n' "$text" >"$file.new"
    chmod "$COMMAND_MODE" "$file.new"
    mv "$file.new" "$file"
}

make_commands() {
    mkdir -p "$PREFIX/bin" "$BIN"
    write_if_new "$PREFIX/bin/run-in" <<EOF
#!/bin/sh
# Runs a command of Hoverboard's environment: $PREFIX/bin/run-in COMMAND ARGUMENTS...
# Python finds the checkout's folders. It does not look into the current directory (-P) or the home folder (-s).
command=\$1
shift
# An empty entry of PYTHONPATH is the current directory.
case "\${PYTHONPATH:+:\$PYTHONPATH:}" in
    *::*) PYTHONPATH=\$(printf %s "\$PYTHONPATH" | sed 's/::*/:/g; s/^://; s/:\$//') ;;
esac
case "\$command" in
    python*) set -- -P -s "\$@" && export PYTHONPATH="\${PYTHONPATH:+\$PYTHONPATH:}$CHECKOUT" ;;
esac
exec "$VENV/bin/\$command" "\$@"
EOF
    write_if_new "$BIN/hoverboard" <<EOF
#!/bin/sh
# -I: Python imports nothing from the current directory or the home folder, and ignores PYTHONPATH and its like.
exec "$VENV/bin/python" -I "$VENV/bin/hoverboard" "\$@"
EOF
}

warm_fast_path() {
    local cache=$VENV/numba-cache stamp
    # The compiled code depends on the source (hoverboard/fastpath/compiled/compiler.py keeps a cache for each state of it)
    # and its place, on the packages, and on the processor.
    stamp="$CHECKOUT $({ cat "$CHECKOUT"/hoverboard/fastpath/{,*/}*.py "$CHECKOUT"/hoverboard/contract/{,openflow/}*.py "$PREFIX/installed"
        grep -m 1 'model name' /proc/cpuinfo || uname -m; } | digest)"
    if [ -d "$cache" ] && grep -qxF "$stamp" "$PREFIX/compiled" 2>/dev/null; then return; fi
    report "compiling the fast path (a minute or two)"
    quietly "compiling the fast path" 600 "$VENV/bin/python" -I -m hoverboard.fastpath.engine.warm
    echo "$stamp" >>"$PREFIX/compiled"
    # Remove old caches. One that is still used, by an older state of the source, is compiled when it is next needed.
    if [ -d "$cache" ] && [ -n "$(find "$cache" -mindepth 1 -maxdepth 1 -type d -mtime +7 -print -exec rm -rf {} +)" ]; then
        echo "$stamp" >"$PREFIX/compiled"
    fi
}

load_kernel_modules() {
    # The kernel datapath of OVS, if the kernel has it. Without it OVS forwards in user space, which works too.
    modprobe --quiet openvswitch 2>>"$LOG" || true
}

# --- main ---------------------------------------------------------------------------------------------------------

mode="" user="" ha=""
for word in "$@"; do
    case "$word" in
        -h | --help) usage && exit ;;
        demo | test | packages | uninstall) [ -z "$mode" ] && mode=$word || wrong_usage ;;
        --ha) ha=--ha ;;
        --user) user=--user ;;
        *) wrong_usage ;;
    esac
done
case "$mode$user$ha" in "" | --* | uninstall*--ha | packages--user*) wrong_usage ;; esac
if [ -n "$ha" ] || [ "$mode" = test ]; then PACKAGES+=(etcd-server); fi
if [ -n "$user" ]; then
    [ "$(id -u)" -ne 0 ] || die "--user is for an ordinary user, and you are root; call it without --user"
    choose_places_of_user
    umask 077 # what is made is the user's alone
    COMMAND_MODE=700
    DOWN="hoverboard down --all"
else
    [ "$(id -u)" -eq 0 ] || tell_both_ways
    choose_places /opt/hoverboard /usr/local/bin /var/log/hoverboard-bootstrap.log /run/hoverboard-bootstrap.lock
    umask 022
    COMMAND_MODE=755
    DOWN="sudo hoverboard down --all"
fi
# What the machine and root have configured counts (/etc/pip.conf, root's pip.conf). What the caller's shell says does not,
# but for the proxy and its certificate: it would have pip install elsewhere, or something else.
for name in "${!PIP_@}" "${!PYTHON@}"; do
    case "$name" in PIP_SECONDS | PYTHON | PIP_PROXY | PIP_CERT | PIP_CLIENT_CERT) ;; *) unset "$name" ;; esac
done
unset VIRTUAL_ENV NUMBA_CACHE_DIR XDG_CONFIG_HOME XDG_CONFIG_DIRS XDG_CACHE_HOME XDG_DATA_HOME
if [ -z "$user" ]; then HOME=$(getent passwd 0 | cut -d : -f 6); fi
export HOME LC_ALL=C.UTF-8
cd / # nothing is read from the folder of the caller
if [ "$mode" = uninstall ]; then
    trap 'die "line $LINENO failed: $BASH_COMMAND"' ERR
    take_lock
    uninstall
    exit
fi
check_release
if [ -n "$user" ]; then check_user; fi
take_lock
if [ "$mode" != packages ]; then check_checkout; fi
mkdir -p "$(dirname "$LOG")"
{ : >"$LOG"; } 2>/dev/null || die "cannot write $LOG: no space, or a read-only file system"
if [ -z "$user" ]; then trap remove_policy EXIT; fi
trap 'exit 130' INT
trap 'exit 143' TERM HUP
trap 'die "line $LINENO failed: $BASH_COMMAND (details: $LOG)"' ERR

SECONDS=0
mark_prefix
if [ -z "$user" ]; then
    remove_policy # one that a killed bootstrap left
    install_packages
    if [ "$mode" = packages ]; then
        report "the Debian packages are installed; each user types: ./bootstrap.sh demo --user"
        exit
    fi
    load_kernel_modules
else
    check_execution
fi
[ -x "$PYTHON" ] || die "$PYTHON is missing although its package is installed"
make_environment "$mode"
make_commands
warm_fast_path
echo "$SECONDS" >"$PREFIX/set-up-seconds" # tests/run prints it beside its own time
report "ready for '$mode' after $SECONDS s: $BIN/hoverboard"
if [ -n "$user" ]; then tell_path; else tell_readers; fi
