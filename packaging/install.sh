#!/bin/sh
# Installs mlxd from a release's archive, for one user. Needs no root, changes no profile, starts nothing.
#
#   sh install.sh [--prefix DIR] [--from URL-OR-DIR] [--version VERSION]
#   sh install.sh --uninstall [--prefix DIR]
#
# The archive goes to PREFIX/lib/mlxd. Links to it go to PREFIX/bin and PREFIX/share. The archive is unpacked only if its SHA-256
# is the one of the file beside it.
set -eu

version=0.1.0

say() { printf '%s\n' "$*"; }
fail() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

# Whether a path is a link that this script made.
is_ours() {
    [ -L "$1" ] && case $(readlink "$1") in "$home"/*) true ;; *) false ;; esac
}

remove_links() {
    for link in "$prefix/bin/mlxd" "$prefix/$manual"/mlxd*.1; do
        if is_ours "$link"; then rm -f "$link"; fi
    done
    for file in $completions; do
        if is_ours "$prefix/$file"; then rm -f "$prefix/$file"; fi
    done
}

# fetch FILE TARGET: from a folder, by HTTPS, or by HTTP from this machine.
fetch() {
    case $from in
    https://* | http://127.0.0.1[:/]* | http://localhost[:/]*)
        if command -v curl >/dev/null; then
            curl --fail --silent --show-error --location --retry 3 --connect-timeout 20 --max-time 3600 \
                --proto-redir '=https' --output "$2" "$from/$1" || fail "cannot download $from/$1"
        elif command -v wget >/dev/null; then
            wget --quiet --tries=3 --timeout=60 --output-document="$2" "$from/$1" || fail "cannot download $from/$1"
        else
            fail "curl or wget is needed"
        fi
        ;;
    *://*) fail "$from is not downloaded: only https:// is" ;;
    *) cp "$from/$1" "$2" || fail "cannot copy $from/$1" ;;
    esac
}

digest() {
    if command -v sha256sum >/dev/null; then
        sha256sum "$1"
    elif command -v shasum >/dev/null; then
        shasum -a 256 "$1"
    else
        fail "sha256sum or shasum is needed"
    fi
}

# Links a file of the archive at the same place below the prefix, unless something else is there.
link() {
    if [ -e "$prefix/$1" ] || [ ! -e "$home/$1" ]; then return 0; fi
    mkdir -p "$(dirname "$prefix/$1")"
    ln -sf "$home/$1" "$prefix/$1"
}

# All in a function: a script that is cut off on its way does nothing.
main() {
    prefix=${HOME:-}/.local
    from=
    uninstall=
    while [ $# -gt 0 ]; do
        case $1 in
        --prefix | --from | --version)
            [ $# -ge 2 ] || fail "$1 needs a value"
            case $1 in
            --prefix) prefix=$2 ;;
            --from) from=$2 ;;
            --version) version=$2 ;;
            esac
            shift 2
            ;;
        --uninstall)
            uninstall=yes
            shift
            ;;
        *) fail "there is no option $1: use --prefix, --from, --version or --uninstall" ;;
        esac
    done

    case $prefix in
    /?*) ;;
    *) fail "--prefix must be an absolute path other than /, and is \"$prefix\"" ;;
    esac
    case $version in
    *[!0-9A-Za-z.+-]* | '') fail "\"$version\" is no version" ;;
    esac
    home=$prefix/lib/mlxd
    manual=share/man/man1
    # Completions: their places in the archive and below the prefix are the same.
    completions='share/bash-completion/completions/mlxd share/zsh/site-functions/_mlxd share/fish/vendor_completions.d/mlxd.fish'

    if [ -n "$uninstall" ]; then
        [ -x "$home/bin/mlxd" ] || fail "mlxd is not in $home"
        remove_links
        rm -rf "$home"
        say "removed $home and the links to it"
        say "models and settings stay: they are in ~/.mlxd and in Hugging Face's cache"
        exit 0
    fi

    case $(uname -s)-$(uname -m) in
    Linux-x86_64) target=x86_64-unknown-linux-gnu ;;
    *) fail "there is no archive for $(uname -s) on $(uname -m): build mlxd from source (docs/src/install.md)" ;;
    esac
    name=mlxd-$version-$target
    [ -n "$from" ] || from=https://github.com/mlxd/mlxd/releases/download/v$version

    if [ -e "$prefix/bin/mlxd" ] && ! is_ours "$prefix/bin/mlxd"; then
        fail "$prefix/bin/mlxd is another program's: remove it, or use --prefix"
    fi
    if [ -e "$home" ] && [ ! -x "$home/bin/mlxd" ]; then
        fail "$home is something else's: remove it, or use --prefix"
    fi
    mkdir -p "$prefix/lib" "$prefix/bin"
    work=$(mktemp -d "$prefix/lib/.mlxd-install.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' HUP INT TERM

    say "fetching $name.tar.gz from $from"
    fetch "$name.tar.gz.sha256" "$work/expected"
    fetch "$name.tar.gz" "$work/archive"
    expected=$(cut -d ' ' -f 1 <"$work/expected")
    found=$(digest "$work/archive" | cut -d ' ' -f 1)
    [ "$expected" = "$found" ] || fail "the archive's SHA-256 is $found, and should be $expected: nothing is installed"
    say "its SHA-256 is right: $found"
    tar -xzf "$work/archive" -C "$work"
    [ -x "$work/$name/bin/mlxd" ] || fail "the archive has no $name/bin/mlxd"
    "$work/$name/bin/mlxd" --version >/dev/null || fail "mlxd does not run here: README.md in the archive names the libraries it needs"

    remove_links
    if [ -e "$home" ]; then mv "$home" "$work/former"; fi
    mv "$work/$name" "$home" || {
        mv "$work/former" "$home"
        fail "$home cannot be written"
    }
    ln -sf "$home/bin/mlxd" "$prefix/bin/mlxd"
    for page in "$home/$manual"/mlxd*.1; do link "$manual/${page##*/}"; done
    for file in $completions; do link "$file"; done

    say "installed $("$prefix/bin/mlxd" --version) in $home, with links in $prefix/bin and $prefix/share"
    case :${PATH:-}: in
    *:"$prefix/bin":*) ;;
    *) say "$prefix/bin is not in your PATH: add it, or call $prefix/bin/mlxd" ;;
    esac
    [ ! -e "$work/former" ] || say "a running server needs a restart: mlxd stop, then start it again"
    say "try it: mlxd search qwen3 4bit"
    say "remove it: sh install.sh --uninstall --prefix $prefix"
}

main "$@"
