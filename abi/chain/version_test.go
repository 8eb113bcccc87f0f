package chain

import (
	"errors"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// Blocks of protocol versions before 3 refuse what it brought as programs did
// that knew nothing of it, whatever stands there: another code would be another
// outcome.
func TestEarlierVersions(t *testing.T) {
	statement, h, text := encBytes([]byte{1}), encHash("x"), encText("x")
	params := func(value []byte) []byte {
		p := fullParams()
		p.VerdictGateways = 0
		b := append(p.Append(nil), 19)
		b[0]++ // one pair more, and still below 24
		return append(b, value...)
	}
	propose := func(kind uint64, args []byte) []byte { return pairs(1, encUint(kind), 2, args, 3, text) }
	for name, tt := range map[string]struct {
		kind string
		in   []byte
		code abi.Code
	}{
		"origin":                {"enrol", pairs(1, statement, 3, statement), abi.CodeBadArgument},
		"origin of a kind":      {"enrol", pairs(1, statement, 3, text), abi.CodeBadArgument},
		"stolen":                {"propose", propose(10, pairs(1, h, 2, text)), abi.CodeUnknownOp},
		"stolen, malformed":     {"propose", propose(10, pairs(1, text)), abi.CodeUnknownOp},
		"a later parameter":     {"propose", propose(6, params(encUint(3))), abi.CodeBadArgument},
		"a later, of a kind":    {"propose", propose(6, params(text)), abi.CodeBadArgument},
		"a later one, but zero": {"propose", propose(6, params(encUint(0))), abi.CodeBadArgument},
	} {
		for version := uint64(1); version < 3; version++ {
			var err error
			if tt.kind == "enrol" {
				_, err = ParseEnrolIn(tt.in, version)
			} else {
				_, err = ParseProposeIn(tt.in, version)
			}
			if c, _ := errors.AsType[abi.Code](err); c != tt.code {
				t.Errorf("%s, version %d: %v, want %v", name, version, err, tt.code)
			}
		}
	}
	for name, err := range map[string]error{
		"origin":    second(ParseEnrolIn(pairs(1, statement, 3, statement), 3)),
		"stolen":    second(ParseProposeIn(propose(10, pairs(1, h, 2, text)), 3)),
		"parameter": second(ParseProposeIn(propose(6, params(encUint(3))), 3)),
	} {
		if err != nil {
			t.Errorf("%s, version 3: %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// Every operation and kind of proposal has a name and a version that knows it.
func TestSince(t *testing.T) {
	for op := Op(0); op < 40; op++ {
		_, named := opNames[op]
		if known := op.Since() != 0; known != named || op.Since() > Protocol {
			t.Errorf("%v is known since %d", op, op.Since())
		}
	}
	for k := ProposalKind(0); k < 20; k++ {
		_, err := ParseProposalArgs(k, cbor.AppendMap(nil, 0))
		if known := k.Since() != 0; known == errors.Is(err, abi.CodeUnknownOp) {
			t.Errorf("%v is known since %d: %v", k, k.Since(), err)
		}
	}
}
