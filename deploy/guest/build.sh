#!/usr/bin/env bash
# Builds the image of a guest that runs the vault and nothing else: Debian's kernel, an initial file system with one program, a command line.
#
#   deploy/guest/build.sh --vault target/release/vault --output DIR [--kernel-package FILE.deb]
#
# The same inputs give the same bytes, whoever builds and whenever: files in a fixed order, times of zero, root as their owner, a
# compression that keeps no time. `DIR/image.txt` names every input by its SHA-256, `chorion vault measure` says what the result will be measured
# as. Without --kernel-package the kernel that `linux-image-amd64` stands for is fetched with apt-get. Root is not needed.
set -euo pipefail
export LC_ALL=C TZ=UTC
umask 022
here=$(cd "$(dirname "$0")" && pwd)

stop() { # stop SENTENCE HINT
    printf 'error: %s\n\nhint: %s\n' "$1" "$2" >&2
    exit 2
}

vault= output= package=
while [ $# -gt 0 ]; do
    case $1 in
    --vault) vault=${2-} && shift 2 ;;
    --output) output=${2-} && shift 2 ;;
    --kernel-package) package=${2-} && shift 2 ;;
    *) stop "there is no option '$1'" "deploy/guest/build.sh --vault FILE --output DIR [--kernel-package FILE.deb]" ;;
    esac
done
[ -n "$vault" ] && [ -n "$output" ] || stop "the vault's program and the output folder are not named" "deploy/guest/build.sh --vault FILE --output DIR"
[ -x "$vault" ] || stop "$vault is no program" "cargo build --release --locked -p vault --no-default-features"
for tool in cpio gzip dpkg-deb ldd sha256sum; do
    command -v "$tool" >/dev/null || stop "$tool is not here" "apt-get install cpio gzip dpkg libc-bin coreutils"
done
# A vault with the unattested mode has no place in a guest. Such a build says so of itself, and ends when it is started there.
if grep -qaF "built with the unattested mode, and no guest's program" "$vault"; then
    stop "$vault can run unattested" "build it without: cargo build --release --locked -p vault --no-default-features"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ -z "$package" ]; then
    name=$(apt-cache depends linux-image-amd64 | awk '/Depends:/ { print $2; exit }')
    [ -n "$name" ] || stop "apt knows no kernel" "apt-get update, or name one: --kernel-package FILE.deb"
    (cd "$work" && apt-get -qq download "$name" 2>/dev/null) || stop "the package $name could not be fetched" "apt-get update"
    package=$(ls "$work"/*.deb)
fi
dpkg-deb -x "$package" "$work/kernel"
kernel=$(ls "$work"/kernel/boot/vmlinuz-*)
module=$(find "$work/kernel" -name sev-guest.ko)

root=$work/root
mkdir -p "$root"/{dev,proc,sys,tmp,etc,modules,lib64}
install -m 755 "$vault" "$root/init"
# The program's libraries, at the places where it looks for them.
while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    install -m 755 "$(readlink -f "$library")" "$root$library"
done < <(ldd "$vault" 2>/dev/null | grep -o '/[^ ]*\.so[^ ]*' | sort -u || true)
[ -z "$module" ] || install -m 644 "$module" "$root/modules/sev-guest.ko"
find "$root" -exec touch --no-dereference --date=@0 {} +

mkdir -p "$output"
cp "$kernel" "$output/vmlinuz"
(cd "$root" && find . -print0 | sort -z | cpio --quiet --null --create --format=newc --reproducible --owner=0:0) | gzip -9 -n >"$output/initrd.gz"
# Nothing from outside steers the guest: what is not here cannot be said to it, since this line is measured with it.
printf 'console=ttyS0 quiet panic=-1 lockdown=confidentiality' >"$output/cmdline"
{
    printf 'vault   %s\n' "$(sha256sum <"$vault" | cut -d' ' -f1)"
    printf 'kernel  %s  %s\n' "$(sha256sum <"$package" | cut -d' ' -f1)" "$(dpkg-deb -f "$package" Package Version | tr '\n' ' ' | sed 's/ $//')"
    printf 'module  %s\n' "$([ -n "$module" ] && echo sev-guest || echo 'none: this kernel has the driver inside, or none')"
    for file in vmlinuz initrd.gz cmdline; do printf '%-10s %s\n' "$file" "$(sha256sum <"$output/$file" | cut -d' ' -f1)"; done
} >"$output/image.txt"
cat "$output/image.txt"
