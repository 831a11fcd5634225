# shellcheck shell=bash disable=SC2034,SC2154
# Part of bootstrap.sh: the places of an installation, and what `--user` needs of a user and of an administrator.

choose_places() { # PREFIX BIN LOG LOCK: unless variables name others; paths without links, so that a folder has one name
    GIVEN_PREFIX=${HOVERBOARD_PREFIX:-$1}
    PREFIX=$(realpath -m -- "$GIVEN_PREFIX")
    BIN=$(realpath -m -- "${HOVERBOARD_BIN:-$2}")
    LOG=$(realpath -m -- "${HOVERBOARD_LOG:-$3}")
    LOCK=$(realpath -m -- "${HOVERBOARD_LOCK:-$4}") # another one for tests
    STATE=$(realpath -m -- "${HOVERBOARD_STATE_DIR:-/run/hoverboard}")
    VENV=$PREFIX/venv
    MARK=$PREFIX/made-by-bootstrap # written first and removed last: what is beside it is ours
}

absolute() { # FOLDER OTHERWISE: as the XDG specification has it, a relative path does not count
    case "$1" in /*) echo "$1" ;; *) echo "$2" ;; esac
}

choose_places_of_user() {
    local data state
    HOME=${HOME:-$(getent passwd "$(id -u)" | cut -d : -f 6)} || true
    [ -n "$HOME" ] || die "you have no home folder: HOME is not set; set it to a folder of yours"
    [ -d "$HOME" ] || die "your home folder $HOME does not exist; set HOME to a folder of yours"
    data=$(absolute "${XDG_DATA_HOME:-}" "$HOME/.local/share")
    state=$(absolute "${XDG_STATE_HOME:-}" "$HOME/.local/state")/hoverboard
    choose_places "$data/hoverboard" "$HOME/.local/bin" "$state/bootstrap.log" "$state/bootstrap.lock"
    if [ -z "${HOVERBOARD_STATE_DIR:-}" ] && [ -d "${XDG_RUNTIME_DIR:-}" ]; then STATE=$XDG_RUNTIME_DIR/hoverboard; fi
}

packages_command() { # the administrator's command for what is missing of PACKAGES
    local ha=""
    [[ " $* " != *" etcd-server "* ]] || ha=" --ha"
    echo "sudo ./bootstrap.sh packages$ha"
}

tell_both_ways() { # an ordinary user called without --user
    local missing
    if [ "$mode" = uninstall ]; then
        die "this needs root: sudo ./bootstrap.sh uninstall; what you installed for yourself: ./bootstrap.sh uninstall --user"
    fi
    if [ "$mode" = packages ]; then die "this needs root: sudo ./bootstrap.sh packages${ha:+ --ha}"; fi
    check_release
    mapfile -t missing < <(missing_packages)
    printf 'bootstrap: error: this needs root, or --user.\n' >&2
    printf '  an administrator, for all users: sudo ./bootstrap.sh %s%s\n' "$mode" "${ha:+ --ha}" >&2
    printf '  for yourself alone, without root: ./bootstrap.sh %s --user' "$mode" >&2
    if [ "${#missing[@]}" -gt 0 ]; then
        printf ', after an administrator has typed: %s (installs %s)' "$(packages_command "${missing[@]}")" "${missing[*]}" >&2
    fi
    echo >&2
    exit 1
}

check_user() { # dies when something is missing that a user cannot make: packages, a readable checkout, folders of one's own
    local missing place found folder
    mapfile -t missing < <(missing_packages)
    if [ "${#missing[@]}" -gt 0 ]; then
        printf 'bootstrap: error: these Debian packages are missing: %s\n' "${missing[*]}" >&2
        printf '  an administrator types: %s (starts no service)\n' "$(packages_command "${missing[@]}")" >&2
        printf '  or, which starts their services: sudo apt-get install --no-install-recommends %s\n' "${missing[*]}" >&2
        exit 1
    fi
    found=$(find "$CHECKOUT"/{setup.cfg,pyproject.toml,constraints.txt} \
        "$CHECKOUT"/{hoverboard,controllers,topologies,experiments,console,benchmarks} -name __pycache__ -prune \
        -o "(" ! -readable -o -type d ! -executable ")" -print -quit 2>/dev/null || true)
    [ -z "$found" ] || die "you cannot read $found; ask its owner for: chmod -R go+rX $CHECKOUT"
    for place in "$PREFIX" "$BIN" "$(dirname "$LOG")" "$(dirname "$LOCK")"; do
        folder=$place
        while [ ! -e "$folder" ]; do folder=$(dirname "$folder"); done
        [ -d "$folder" ] || die "$folder is a file, and $place cannot be made"
        [ -w "$folder" ] && [ -x "$folder" ] ||
            die "you cannot write $folder, where $place is to be; set HOVERBOARD_PREFIX, HOVERBOARD_BIN and HOVERBOARD_LOG, or HOME"
    done
    if [ ! -x "$VENV/bin/hoverboard" ]; then need_space "$PREFIX"; fi
    case "$(file_system "$PREFIX")" in
        nfs* | smb* | cifs | fuse*) warn "$PREFIX is on a network file system: set-up and first start take longer;" \
            "HOVERBOARD_PREFIX can name a folder on a local disk" ;;
    esac
}

file_system() { # FOLDER: the kind of its file system; it need not exist yet
    local folder=$1
    while [ ! -e "$folder" ]; do folder=$(dirname "$folder"); done
    stat -f -c %T "$folder"
}

check_execution() { # dies when programs cannot be executed in PREFIX or BIN, as on a disk that is mounted noexec
    local folder
    for folder in "$PREFIX" "$BIN"; do
        mkdir -p "$folder"
        printf '#!/bin/sh\n' >"$folder/.hoverboard-try"
        chmod 700 "$folder/.hoverboard-try"
        if ! "$folder/.hoverboard-try" 2>>"$LOG"; then
            rm -f "$folder/.hoverboard-try"
            die "no program can be executed in $folder (is it mounted noexec?); set HOVERBOARD_PREFIX and HOVERBOARD_BIN to other folders"
        fi
        rm -f "$folder/.hoverboard-try"
    done
}

tell_path() { # how to call `hoverboard`, if the shell would not find this one
    local found
    found=$(PATH=$TYPED_PATH command -v hoverboard || true)
    if [ -n "$found" ] && [ "$(realpath -m -- "$found")" = "$BIN/hoverboard" ]; then return; fi
    if [ -n "$found" ]; then report "the command \`hoverboard\` of your shell is another one: $found"; fi
    report "to find this one, type this line, and add it to ~/.profile: export PATH=\"$BIN:\$PATH\""
}

tell_readers() { # an installation of root's serves all users if they can read the checkout
    local folder=$CHECKOUT
    while [ "$folder" != / ]; do
        if [ -z "$(find "$folder" -maxdepth 0 -perm -o=x)" ] || [ -z "$(find "$CHECKOUT/setup.cfg" -perm -o=r)" ]; then
            report "other users cannot read $folder, so \`hoverboard\` is not for them; to serve all, move the checkout, and repeat"
            return
        fi
        folder=$(dirname "$folder")
    done
}
