package chain

import (
	"encoding/binary"
	"encoding/hex"
	"strconv"

	"github.com/seed79541315/postern/abi"
)

// KeyName names a state entry for people, by what it is of: "account 5e0c…",
// "contract access", "proposal 3", "validators"; "log" is the head of an account's
// decision log, "listing" a serial on the blacklist by its hash. What has no name of its own is
// "key" with the key's hex, as is what only looks like a name.
func KeyName(key []byte) string {
	switch string(key) {
	case "":
		return "key"
	case string(ValidatorsKey()):
		return "validators"
	case string(ParamsKey()):
		return "params"
	}
	rest := key[1:]
	ids := map[byte]string{'a': "account", 'd': "device", 'g': "guardians", 'T': "token",
		'A': "log", 'f': "offence", 'j': "verdicts", 'B': "listing"}
	names := map[byte]string{'c': "contract", 'p': "domain", 'y': "platform"}
	switch {
	case ids[key[0]] != "" && len(rest) == len(abi.Hash{}):
		return ids[key[0]] + " " + hex.EncodeToString(rest)
	case names[key[0]] != "" && abi.ValidName(string(rest)):
		return names[key[0]] + " " + string(rest)
	case key[0] == 'G' && len(rest) == 8:
		return "proposal " + strconv.FormatUint(binary.BigEndian.Uint64(rest), 10)
	case key[0] == 's' && len(rest) > 0 && len(rest) > int(rest[0]):
		return "state " + string(rest[1:1+rest[0]]) + " " + hex.EncodeToString(rest[1+rest[0]:])
	}
	return "key " + hex.EncodeToString(key)
}
