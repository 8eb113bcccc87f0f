package spool

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/seed79541315/postern/abi"
)

// lane names a row of transactions that go in order: of one key, in one lane. Of
// an account whose key was replaced, the old key's are refused by the ledger.
type lane struct {
	key    abi.Hash // SHA-256 of the public key
	number uint64
}

// The name of a file is
//
//	key (64 hex digits) - lane (16) - sequence (16)
//
// and of one that was refused
//
//	code (decimal) - height (decimal; 0: in no block) - the name before
func fileName(l lane, sequence uint64) string {
	return fmt.Sprintf("%x-%016x-%016x", l.key[:], l.number, sequence)
}

func parseName(name string) (l lane, sequence uint64, ok bool) {
	parts := strings.Split(name, "-")
	if len(parts) != 3 {
		return lane{}, 0, false
	}
	key, err := hex.DecodeString(parts[0])
	if err != nil || copy(l.key[:], key) != len(key) || len(key) != len(l.key) {
		return lane{}, 0, false
	}
	number, err1 := strconv.ParseUint(parts[1], 16, 64)
	sequence, err2 := strconv.ParseUint(parts[2], 16, 64)
	l.number = number
	return l, sequence, err1 == nil && err2 == nil && fileName(l, sequence) == name
}

func refusedName(code abi.Code, height uint64, name string) string {
	return fmt.Sprintf("%d-%d-%s", code, height, name)
}

func parseRefusedName(name string) (code abi.Code, height uint64, l lane, sequence uint64, ok bool) {
	parts := strings.SplitN(name, "-", 3)
	if len(parts) != 3 {
		return 0, 0, lane{}, 0, false
	}
	number, err1 := strconv.ParseUint(parts[0], 10, 16)
	height, err2 := strconv.ParseUint(parts[1], 10, 64)
	l, sequence, ok = parseName(parts[2])
	code = abi.Code(number)
	return code, height, l, sequence, ok && err1 == nil && err2 == nil && refusedName(code, height, parts[2]) == name
}
