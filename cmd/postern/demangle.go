package main

import (
	"regexp"
	"strconv"
	"strings"
)

// rustSymbol is a function's name as Rust's legacy mangling writes it: the
// parts of its path, each behind its length, and a hash.
var rustSymbol = regexp.MustCompile(`_ZN([0-9][\w$.]*?)17h[0-9a-f]{16}E`)

// demangled shows the Rust functions that a text names by their paths:
// "_ZN4evil3run17hd655438020cfb849E" is evil::run. What is no such name stays
// as it is.
func demangled(text string) string {
	return rustSymbol.ReplaceAllStringFunc(text, func(symbol string) string {
		parts, ok := symbolParts(rustSymbol.FindStringSubmatch(symbol)[1])
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
	})
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
