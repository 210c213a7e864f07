#!/usr/bin/env bash
# Checks the guest image: two builds give the same bytes and the same measurement, and the guest boots as far as the vault's first line.
#
#   deploy/guest/check.sh --vault target/release/vault --chorion target/release/chorion [--ovmf FILE] [--kernel-package FILE.deb]
#
# QEMU starts it without SEV, in software: that shows that kernel, initial file system and program fit together,
# and that a guest without a device ends by itself. It shows nothing of SEV-SNP. Without --ovmf the measurement is taken with the small firmware of
# vectors/, which boots nothing: it is enough to compare two builds.
set -euo pipefail
cd "$(dirname "$0")/../.."
vault= chorion= ovmf=vectors/evidence/measured/firmware.bin package=()
while [ $# -gt 0 ]; do
    case $1 in
    --vault) vault=$2 ;;
    --chorion) chorion=$2 ;;
    --ovmf) ovmf=$2 ;;
    --kernel-package) package=(--kernel-package "$2") ;;
    *) printf 'error: there is no option %s\n' "$1" >&2 && exit 2 ;;
    esac
    shift 2
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ ${#package[@]} -eq 0 ]; then
    name=$(apt-cache depends linux-image-amd64 | awk '/Depends:/ { print $2; exit }')
    (cd "$work" && apt-get -qq download "$name" 2>/dev/null)
    package=(--kernel-package "$(ls "$work"/*.deb)")
fi
measure() { "$chorion" vault measure --ovmf "$ovmf" --kernel "$1/vmlinuz" --initrd "$1/initrd.gz" --append "$(cat "$1/cmdline")" --vcpus 1 --cpu genoa; }
# From another place, at another time, under another mask: what must not matter.
deploy/guest/build.sh --vault "$vault" --output "$work/one" "${package[@]}"
cp "$vault" "$work/vault" && touch --date=2001-01-01 "$work/vault"
(umask 077 && TMPDIR=$work TZ=Asia/Tokyo deploy/guest/build.sh --vault "$work/vault" --output "$work/two" "${package[@]}" >/dev/null)
for file in vmlinuz initrd.gz cmdline image.txt; do
    cmp "$work/one/$file" "$work/two/$file" || { echo "error: two builds differ in $file" >&2 && exit 1; }
done
first=$(measure "$work/one") second=$(measure "$work/two")
[ "$first" = "$second" ] || { echo "error: two builds are measured differently" >&2 && exit 1; }
echo "measurement, twice: $first"
printf 'x' >>"$work/two/initrd.gz"
[ "$first" != "$(measure "$work/two")" ] || { echo "error: another image has the same measurement" >&2 && exit 1; }

if ! command -v qemu-system-x86_64 >/dev/null; then
    echo "skipped: not here (qemu-system-x86_64): the image was not booted"
    exit 0
fi
status=0
timeout 300 qemu-system-x86_64 -accel tcg -cpu max -m 1024 -nographic -no-reboot -nodefaults -serial stdio -monitor none -net none \
    -kernel "$work/one/vmlinuz" -initrd "$work/one/initrd.gz" -append "$(cat "$work/one/cmdline")" >"$work/console" 2>&1 </dev/null || status=$?
tr -d '\r' <"$work/console" | grep -a -A5 'chorion vault' || { cat "$work/console" >&2 && echo "error: the vault said nothing (status $status)" >&2 && exit 1; }
grep -qa "this guest has no device of SEV-SNP" "$work/console" || { echo "error: the vault did not say that it can prove nothing" >&2 && exit 1; }
[ $status -eq 0 ] || { echo "error: the guest did not end by itself (status $status)" >&2 && exit 1; }
echo "booted without SEV: the vault said its first line, found no device, and switched the guest off"
