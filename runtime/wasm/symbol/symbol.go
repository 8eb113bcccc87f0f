// Package symbol reads the names that compilers give to functions: Rust's
// legacy mangling, and its v0 mangling (RFC 2603).
package symbol

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// legacySymbol is a function's name as Rust's legacy mangling writes it: the
// parts of its path, each behind its length, and a hash.
var legacySymbol = regexp.MustCompile(`_ZN([0-9][\w$.]*?)17h[0-9a-f]{16}E`)

// v0Symbol begins what may be a name as RFC 2603 writes it.
var v0Symbol = regexp.MustCompile(`\b_R[A-Z][0-9A-Za-z_]+`)

// Demangle shows the Rust functions that a text names by their paths:
// "_ZN4evil3run17hd655438020cfb849E" and "_RNvCs1234_4evil3run" are both
// evil::run. What is no such name stays as it is.
func Demangle(text string) string {
	text = legacySymbol.ReplaceAllStringFunc(text, legacy)
	return v0Symbol.ReplaceAllStringFunc(text, v0)
}

// libraries are the crates of Rust's library and of the Rust SDK.
var libraries = []string{"core", "alloc", "std", "compiler_builtins", "postern"}

// runtimeFuncs are functions that the Rust compiler adds.
var runtimeFuncs = []string{"rust_begin_unwind", "rust_panic", "memcpy", "memmove", "memset", "memcmp", "bcmp"}

// crate is the first crate that a demangled name speaks of: of a path its own,
// of "<evil::Command as postern::Decode>" evil, of "<u32 as core::fmt::Debug>"
// core.
var crate = regexp.MustCompile(`([A-Za-z_]\w*)::`)

// goPackages begin the names of functions of Go's runtime, which a panic ends
// in, and of the Go SDK.
var goPackages = []string{
	"runtime.",
	"github.com_seed79541315_postern_sdk_contract.",
	"github.com_seed79541315_postern_sdk_contract_internal_host.",
}

// InLibrary says whether a function, whose name is demangled, is none of a
// contract's own: it stands between them and a trap.
func InLibrary(name string) bool {
	if slices.Contains(runtimeFuncs, name) || strings.HasPrefix(name, "__rust_") {
		return true
	}
	if slices.ContainsFunc(goPackages, func(p string) bool { return strings.HasPrefix(name, p) }) {
		return true
	}
	m := crate.FindStringSubmatch(name)
	return m != nil && slices.Contains(libraries, m[1])
}

// legacy demangles a whole legacy symbol.
func legacy(symbol string) string {
	parts, ok := symbolParts(legacySymbol.FindStringSubmatch(symbol)[1])
	if !ok {
		return symbol
	}
	for i, p := range parts {
		if strings.HasPrefix(p, "_$") {
			p = p[1:] // it keeps the part from beginning with an escape
		}
		parts[i] = symbolEscapes.Replace(unicodeEscape.ReplaceAllStringFunc(p, unescape))
	}
	return strings.Join(parts, "::")
}

// symbolParts cuts a path into its parts, each of which stands behind its
// length.
func symbolParts(path string) (parts []string, ok bool) {
	for path != "" {
		digits := len(path) - len(strings.TrimLeft(path, "0123456789"))
		n, err := strconv.Atoi(path[:digits])
		path = path[digits:]
		if err != nil || n > len(path) {
			return nil, false
		}
		parts, path = append(parts, path[:n]), path[n:]
	}
	return parts, true
}

// symbolEscapes are the signs that cannot stand in a symbol.
var symbolEscapes = strings.NewReplacer("$LT$", "<", "$GT$", ">", "$RF$", "&", "$BP$", "*", "$LP$", "(", "$RP$", ")", "$C$", ",", "$SP$", "@", "..", "::")

var unicodeEscape = regexp.MustCompile(`\$u[0-9a-f]{1,6}\$`)

// unescape is the sign that a $uHEX$ stands for.
func unescape(escape string) string {
	n, err := strconv.ParseInt(strings.Trim(escape, "$")[1:], 16, 32)
	if err != nil {
		return escape
	}
	return string(rune(n))
}
