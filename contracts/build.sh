#!/bin/sh
# Rebuilds the standard contracts' Wasm from their sources. The bytes do not
# depend on where the repository lies; they do on the compiler, so its version
# is checked. Needs Debian's rustc, libstd-rust-dev-wasm32 and lld.
#
#   contracts/build.sh          rebuild the committed files
#   contracts/build.sh --check  build elsewhere and fail if the bytes differ
#   contracts/build.sh --test   run the Rust tests of SDK, contracts and template (needs cargo)
set -eu

want='rustc 1.63.0'
rustc=${POSTERN_RUSTC:-/usr/bin/rustc}
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)

fail() {
	echo "contracts/build.sh: $1" >&2
	exit 1
}

[ -x "$rustc" ] || fail "$rustc not found; on Debian 12: apt-get install --no-install-recommends rustc libstd-rust-dev-wasm32 lld"
have=$("$rustc" --version)
case "$have " in
"$want "*) ;;
*) fail "$rustc is \"$have\", but the committed bytes come from \"$want\" (Debian 12); set POSTERN_RUSTC to it" ;;
esac
[ -d "$("$rustc" --print sysroot)/lib/rustlib/wasm32-unknown-unknown/lib" ] ||
	fail "no Rust library for wasm32; on Debian 12: apt-get install --no-install-recommends libstd-rust-dev-wasm32"
command -v rust-lld >/dev/null || command -v wasm-ld >/dev/null || command -v wasm-ld-14 >/dev/null ||
	fail "no Wasm linker; on Debian 12: apt-get install --no-install-recommends lld"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$root"

# Paths are given relative to the root, so that no directory gets into the
# bytes by a panic's location or a symbol's hash.
compile() {
	PATH=/usr/bin:/bin "$rustc" --edition 2021 --target wasm32-unknown-unknown --out-dir "$work" --remap-path-prefix="$root"=. \
		-C opt-level="$level" -C panic=abort -C codegen-units=1 -C debuginfo=0 -C target-feature=+bulk-memory "$@"
}

# build NAME FOLDER FILE [LEVEL [SDK]]: the contract in a folder, as the
# committed file. At level s, or z, one that would outgrow 64 KiB is smaller, and
# slower; the SDK's part, which most calls spend their time in, only at its own.
build() {
	level=${5:-2}
	compile --crate-name postern --crate-type rlib -C embed-bitcode=yes sdk/rust/src/lib.rs
	level=${4:-2}
	compile --crate-name "$1" --crate-type cdylib --extern postern="$work/libpostern.rlib" \
		-C lto=fat -C strip=symbols -C link-arg=-zstack-size=16384 -C link-arg=--compress-relocations "$2/src/lib.rs"
	if [ "$mode" = --check ]; then
		cmp "$work/$1.wasm" "$3" || fail "$3 is not what its sources build; run make contracts"
	else
		cp "$work/$1.wasm" "$3"
	fi
}

build_all() {
	build access contracts/access contracts/access/access.wasm s
	build behaviour contracts/behaviour contracts/behaviour/behaviour.wasm s
	build firmware contracts/firmware contracts/firmware/firmware.wasm z z
	build records contracts/records contracts/records/records.wasm s
	build attendance contracts/attendance contracts/attendance/attendance.wasm s
	build energy contracts/energy contracts/energy/energy.wasm s
	build lock contracts/lock contracts/lock/lock.wasm s
	build custody contracts/custody contracts/custody/custody.wasm z z
	build sharing contracts/sharing contracts/sharing/sharing.wasm z z
	build guardian contracts/guardian contracts/guardian/guardian.wasm s
	build conformance sdk/rust/conformance sdk/rust/testdata/conformance.wasm
}

# One target folder, so that the SDK is compiled once; no debug information,
# which takes as long as the code.
cargo_here() {
	PATH=/usr/bin:/bin RUSTC=$rustc CARGO_TARGET_DIR=$work/target CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_TEST_DEBUG=0 \
		/usr/bin/cargo "$@" --offline --quiet
}

# The template as a new project has it: the SDK lies within.
lay_out_template() {
	cp -R sdk/rust/template "$work/locker"
	mkdir "$work/locker/postern"
	cp -R sdk/rust/Cargo.toml sdk/rust/src "$work/locker/postern"
}

# Only its features are checked here; what the host says of the module, the Go
# tests ask with the fixture that was built so.
build_template() {
	lay_out_template
	(cd "$work/locker" && cargo_here build --release --target wasm32-unknown-unknown \
		--config "target.wasm32-unknown-unknown.rustflags=['--remap-path-prefix=$work/locker=.']")
	built=$work/target/wasm32-unknown-unknown/release/locker.wasm
	[ "$(wc -c <"$built")" -lt 40000 ] || fail "the template's module has grown beyond 40,000 bytes"
	grep -q "panicked at" "$built" || fail "the template's module says nothing when it panics"
}

# Only the SDK has examples in its docs; looking for them takes seconds each.
run_tests() {
	(cd sdk/rust && cargo_here test --locked)
	for dir in sdk/rust/conformance contracts/access contracts/behaviour contracts/firmware contracts/energy contracts/lock contracts/custody contracts/records contracts/sharing contracts/attendance contracts/guardian; do
		(cd "$dir" && cargo_here test --locked --lib)
	done
	lay_out_template
	(cd "$work/locker" && cargo_here test --tests)
}

mode=${1:-}
case $mode in
'') build_all ;;
--check)
	build_all
	build_template
	;;
--test) run_tests ;;
*) fail "unknown argument $mode" ;;
esac
