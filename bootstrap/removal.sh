# shellcheck shell=bash disable=SC2154
# Part of bootstrap.sh: `uninstall`.

starts_ours() { # FILE: whether it is a command that starts PREFIX's environment, also by another name of PREFIX
    local path
    path=$(sed -n 's|^exec \(".*/bin/python" -I \)\?"\(.*\)/bin/hoverboard" "$@"$|\2|p' "$1" 2>/dev/null) || return 1
    [ -n "$path" ] && [ "$(realpath -m -- "$path")" = "$(realpath -m -- "$VENV")" ]
}

remove_if_empty() { # DIRECTORY: a link to one stays
    if [ -d "$1" ] && [ ! -L "$1" ]; then rmdir --ignore-fail-on-non-empty "$1"; fi
}

uninstall() { # removes what this script has made, and nothing else that may be in the same directories
    local packages=() name
    if compgen -G "$STATE/*/ledger.jsonl" >/dev/null ||
        { [ -n "$user" ] && compgen -G "/tmp/hoverboard-$(id -u)/*/ledger.jsonl" >/dev/null; }; then
        die "a run is up, or has left something; end it first: $DOWN"
    fi
    remove_policy # one that a killed bootstrap left
    remove_if_empty "$PREFIX" # as a removal leaves it that was cut short at its last step
    if [ -d "$PREFIX" ]; then is_ours || die "$PREFIX was not made by this script; it is left alone"; fi
    # First, because it may be in PREFIX, and because it must not stay without an environment.
    for name in hoverboard hoverboard.new; do
        if [ -f "$BIN/$name" ] && starts_ours "$BIN/$name"; then
            rm -f "$BIN/$name"
            report "removed $BIN/$name"
        fi
    done
    if [ -d "$PREFIX" ]; then
        if [ -f "$PREFIX/debian-packages" ]; then mapfile -t packages < <(sort -u "$PREFIX/debian-packages"); fi
        echo "being removed" >"$MARK" # an environment from before there was a mark: the removal can be repeated
        rm -rf "$(realpath -m -- "$VENV")" "$VENV"
        for name in "${MADE[@]}"; do rm -f "$PREFIX/$name"; done
        remove_if_empty "$PREFIX/bin"
        rm -f "$MARK"
        remove_if_empty "$PREFIX"
        if [ -e "$PREFIX" ]; then report "$PREFIX holds other files and stays"; else report "removed $PREFIX"; fi
        if [ -L "${GIVEN_PREFIX%/}" ]; then report "the link ${GIVEN_PREFIX%/} stays"; fi
    else
        report "there is no $PREFIX"
    fi
    if [ "${#packages[@]}" -gt 0 ]; then
        report "these Debian packages were installed for Hoverboard and stay: ${packages[*]}"
        report "to remove them: sudo apt-get remove ${packages[*]}"
    elif [ -z "$user" ]; then
        report "Debian packages stay: ${PACKAGES[*]}"
    fi
    report "this checkout stays, and so does $LOG"
}
