#!/bin/sh
# The two commands of the README on a machine that has nothing: a bare Debian root, git clone, make demo, make test.
# Needs root and debootstrap. Not part of `make test`.
#   sh tests/acceptance/fresh.sh [ROOT]
#   FRESH_SUITE   Debian suite (bookworm)      FRESH_MIRROR  its mirror (debootstrap's own default)
#   FRESH_BIND    folders to show inside, such as a local wheel folder that pip is configured with
#   FRESH_SKIP    words of what to leave out: demo test
set -eu
root="${1:-$(mktemp -d)/debian}"
suite="${FRESH_SUITE:-bookworm}"
source="$(cd "$(dirname "$0")/../.." && pwd)"
[ "$(id -u)" = 0 ] || { echo "This needs root (debootstrap and chroot)." >&2; exit 2; }
command -v debootstrap >/dev/null || { echo "Install debootstrap first: apt-get install debootstrap" >&2; exit 2; }

mounts=""
leave() {
    for place in $mounts; do umount "$place" 2>/dev/null || umount -l "$place" 2>/dev/null || true; done
}
trap leave EXIT INT TERM
bind() { mkdir -p "$root$1"; mount --bind "$1" "$root$1"; mounts="$root$1 $mounts"; }

echo "== a bare $suite in $root"
[ -e "$root/usr/bin/apt-get" ] || debootstrap --variant=minbase \
    --include=ca-certificates,git,make,python3,python3-venv "$suite" "$root" ${FRESH_MIRROR:-} >"$root.log" 2>&1 ||
    { tail -5 "$root.log" >&2; exit 1; }
for place in /proc /dev /sys ${FRESH_BIND:-}; do bind "$place"; done
cp /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || true
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt" 2>/dev/null || true
for file in /etc/pip.conf /etc/xdg/pip; do
    [ -e "$file" ] && mkdir -p "$root$(dirname "$file")" && cp -r "$file" "$root$(dirname "$file")/"
done
[ -d /etc/apt/apt.conf.d ] && cp -n /etc/apt/apt.conf.d/99* "$root/etc/apt/apt.conf.d/" 2>/dev/null || true

echo "== git clone"
rm -rf "$root/root/triptych" && git clone -q "$source" "$root/root/triptych"
inside() { chroot "$root" env -i HOME=/root LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin $(env | grep '^PIP_' || true) sh -c "cd /root/triptych && $1"; }
echo "== not there: $(inside 'ls -d .venv' 2>&1 || true)"
case " ${FRESH_SKIP:-} " in *" demo "*) ;; *)
    echo "== make demo (first)"; time_start=$(date +%s); inside "make demo"; echo "== make demo ended with 0 after $(($(date +%s) - time_start)) s"
    echo "== make demo (second)"; time_start=$(date +%s); inside "make demo"; echo "== make demo ended with 0 after $(($(date +%s) - time_start)) s"
    inside "ls -la output/demo" ;;
esac
case " ${FRESH_SKIP:-} " in *" test "*) ;; *)
    echo "== make test"; time_start=$(date +%s); inside "make test"; echo "== make test ended with 0 after $(($(date +%s) - time_start)) s" ;;
esac
