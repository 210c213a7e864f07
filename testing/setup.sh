#!/usr/bin/env bash
# Sets a machine up for one or more profiles, and says beforehand what that costs:
#
#   testing/setup.sh demo     what the demo runs beside Chorion: the sandbox, and programs that judge its results
#   testing/setup.sh test     what the tests need: the same, and judges in a Python environment under target/: of signatures, stores and key services
#   testing/setup.sh browser  what tests in a real browser need: Chromium, and npm packages under target/browser
#   testing/setup.sh authenticator  what builds what browsers run: Rust's WASM target, and npm packages under target/web
#   testing/setup.sh bench    the peers Chorion is measured against, some of them in a Python environment under target/
#   testing/setup.sh guest    what builds the image of a confidential guest and boots it: deploy/guest
#   testing/setup.sh kms      what judges the clients of key management services, in the same Python environment
#   testing/setup.sh peers    judges of a running hub and of run folders: a TLS scanner, and tools in the same Python environment
#
# Only apt and PyPI are asked, and only when something is missing, so a second run does nothing. Without root or a sudo that
# asks nothing it names what is missing and stops with status 3. Rust and Node are looked at, never installed.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*"; }
stop() { # stop STATUS SENTENCE HINT
    printf 'error: %s\n\nhint: %s\n' "$2" "$3" >&2
    exit "$1"
}

[ $# -gt 0 ] || set -- demo
packages=() # "what must be there|the Debian package that brings it"
python_tools=() # lists of what PyPI is asked for
browser_packages=no
web_packages=no
package_lists=no
for profile in "$@"; do
    case $profile in
    demo | test)
        packages+=(
            "bwrap|bubblewrap"      # the sandbox apps run in
            "samtools|samtools"     # outside judges: they look at the results again, outside the sandbox
            "bcftools|bcftools"
            "minimap2|minimap2"
            "fastp|fastp"
            "dpkg-deb|dpkg"         # `chorion app pack` unpacks Debian packages with it
            "openssl|openssl"       # judges of what comes of a person's words
            "ssh-keygen|openssh-client"
            "gpg|gpg"
            "gpg-agent|gpg-agent"
            "script|bsdutils"
            "/etc/ssl/certs/ca-certificates.crt|ca-certificates"
        )
        package_lists=yes # `chorion app pack` fetches packages with apt-get download
        if [ "$profile" = test ]; then
            packages+=(
                "plink2|plink2" # judges polygenic scores, on 379 people that another package brings
                "/usr/share/doc/bio-eagle/examples/EUR_test.vcf.gz|bio-eagle-examples"
            )
            python_tools+=(test s3 kms) # an Ethereum library that judges signatures, an S3 server, and judges of key services
        fi
        ;;
    browser)
        packages+=(
            "chromium|chromium"
            "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf|fonts-dejavu-core"
            "curl|curl"
        )
        browser_packages=yes
        ;;
    authenticator) web_packages=yes ;;
    bench)
        packages+=(
            "age|age"               # peers in sealing
            "restic|restic"         # and in sending: restic to a REST server that rclone gives it
            "rclone|rclone"
            "nginx|nginx-light"     # what takes files without sealing or syncing
            "openssl|openssl"
            "/usr/share/java/picard.jar|picard-tools" # the peer in demultiplexing,
            "/usr/share/java/commons-lang.jar|libcommons-lang-java" # and the jar its CBCL reader lacks
            "samtools|samtools"     # the peer in region queries
            "java|default-jre-headless"
        )
        python_tools+=(bench)
        ;;
    peers)
        packages+=(
            "sslscan|sslscan"       # what TLS the hub speaks
            "testssl|testssl.sh"    # and what is known to be weak about it
            "openssl|openssl"
            "nft|nftables"          # reads deploy/nftables.conf
        )
        python_tools+=(runs hub)
        ;;
    guest)
        packages+=(
            "qemu-system-x86_64|qemu-system-x86" # boots the guest image without SEV
            "cpio|cpio"
            "dpkg-deb|dpkg"
        )
        package_lists=yes # the kernel comes with apt-get download
        ;;
    kms)
        python_tools+=(kms) # servers that speak for clouds, and the SDKs that judge our clients of them
        ;;
    *) stop 2 "there is no profile '$profile'" "choose among: demo, test, browser, authenticator, peers, kms, bench, guest" ;;
    esac
done

# Rust and Node are a matter of the person whose machine this is.
toolchain=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
command -v cargo >/dev/null || stop 3 "cargo is not here" "install rustup (https://rustup.rs), then: rustup toolchain install $toolchain"
if command -v rustup >/dev/null && ! rustup toolchain list | grep -q "^$toolchain"; then
    stop 3 "Rust $toolchain is not here" "rustup toolchain install $toolchain"
fi
command -v cc >/dev/null || packages+=("cc|gcc")
[ -e /usr/include/stdio.h ] || packages+=("/usr/include/stdio.h|libc6-dev")
command -v python3 >/dev/null || packages+=("python3|python3-minimal")
node=$(node --version 2>/dev/null || true)
[ "${node#v}" ] && [ "$(sed 's/^v\([0-9]*\).*/\1/' <<<"$node")" -ge 20 ] ||
    say "note: Node 20 is not here (found: ${node:-none}); only work on the website needs it"
if [ ${#python_tools[@]} -gt 0 ] && ! [ -x target/venv/bin/python ] && ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
    packages+=("venv|python3-venv")
fi

missing=()
for entry in "${packages[@]}"; do
    what=${entry%%|*} package=${entry##*|}
    case $what in
    /*) [ -e "$what" ] && continue ;;
    *) command -v "$what" >/dev/null && continue ;;
    esac
    [[ " ${missing[*]} " == *" $package "* ]] || missing+=("$package")
done
lists_missing=no
if [ "$package_lists" = yes ] && ! apt-cache show minimap2 >/dev/null 2>&1; then
    lists_missing=yes
fi

# What the missing packages would fetch, with what they depend on. Needs the package lists, but not root.
sizes() {
    apt-get -o Debug::NoLocking=true install --no-install-recommends --print-uris -y "${missing[@]}" 2>/dev/null |
        grep "^'" |
        awk '{ bytes += $3; printf "setup:   %-52s %8.2f MB\n", $2, $3 / 1e6 }
             END { printf "setup: %d packages, %.1f MB to download\n", NR, bytes / 1e6 }'
}

if [ ${#missing[@]} -gt 0 ] || [ $lists_missing = yes ]; then
    [ $lists_missing = no ] || say "missing: the lists of Debian packages (apt-get update, about 10 MB)"
    if [ ${#missing[@]} -gt 0 ]; then
        say "missing: ${missing[*]}"
        [ $lists_missing = yes ] || sizes || true
    fi
    if [ "$(id -u)" -eq 0 ]; then
        root=()
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        root=(sudo -n)
    else
        stop 3 "this needs root, and sudo is not here or asks for a password" \
            "run as root: apt-get update && apt-get install --no-install-recommends ${missing[*]:-}"
    fi
    apt=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq)
    "${apt[@]}" update
fi
if [ ${#missing[@]} -gt 0 ]; then
    # Without lists the sizes could not be told before; told now, they still come before anything is installed.
    [ $lists_missing = no ] || sizes
    # No daemon is started by an installation: Debian asks this file before it starts one.
    if ! [ -e /usr/sbin/policy-rc.d ]; then
        trap '"${root[@]}" rm -f /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee /usr/sbin/policy-rc.d >/dev/null
        "${root[@]}" chmod 755 /usr/sbin/policy-rc.d
    fi
    "${apt[@]}" install --no-install-recommends -y "${missing[@]}" </dev/null >/dev/null
    say "installed: ${missing[*]}"
fi

for list in ${python_tools[@]+"${python_tools[@]}"}; do
    wanted=testing/requirements-$list.txt done=target/venv/requirements-$list.txt
    cmp -s "$wanted" "$done" && continue
    say "Python tools in target/venv, from PyPI: $(grep -v '^#' "$wanted" | tr '\n' ' ')"
    mkdir -p target
    [ -x target/venv/bin/python ] || python3 -m venv target/venv
    target/venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input -r "$wanted"
    # Last, so that an installation that was cut off is taken up again.
    cp "$wanted" "$done"
done
if [ "$browser_packages" = yes ] && ! cmp -s testing/browser/package.json target/browser/installed; then
    command -v npm >/dev/null || stop 3 "npm is not here, and the tests in a browser need it" "install Node 20 or newer"
    say "npm packages in target/browser, about 21 MB: $(sed -n 's/^    "\([a-z-]*\)": "\(.*\)".*/\1 \2/p' testing/browser/package.json | tr '\n' ' ')"
    mkdir -p target/browser
    cp testing/browser/package.json target/browser/package.json
    (cd target/browser && npm install --silent --no-audit --no-fund --ignore-scripts </dev/null)
    # Last, so that an installation that was cut off is taken up again.
    cp testing/browser/package.json target/browser/installed
fi
if [ "$web_packages" = yes ]; then
    if command -v rustup >/dev/null && ! rustup target list --installed | grep -q '^wasm32-unknown-unknown$'; then
        say "Rust's target wasm32-unknown-unknown, about 20 MB"
        rustup target add wasm32-unknown-unknown
    fi
    if ! cmp -s web/package.json target/web/installed; then
        command -v npm >/dev/null || stop 3 "npm is not here, and what browsers run needs it" "install Node 20 or newer"
        say "npm packages in target/web, about 62 MB: $(sed -n 's/^    "\([a-z-]*\)": "\(.*\)".*/\1 \2/p' web/package.json | tr '\n' ' ')"
        mkdir -p target/web
        cp web/package.json target/web/package.json
        (cd target/web && npm install --silent --no-audit --no-fund --ignore-scripts </dev/null)
        # Last, so that an installation that was cut off is taken up again.
        cp web/package.json target/web/installed
    fi
fi
say "ready for: $*"
