package abi

import "github.com/seed79541315/postern/abi/cbor"

// Hello is what a gateway shows of itself before anything else: {1: account id
// (bytes 32), 2: proof.Entry of that account, 3: [proof.Step (bytes) …]}. The
// steps are there only if the request named a height, {1: height}, and lead
// from the validators behind it towards those that signed the proof: as many
// as the gateway likes to send, the rest by OpSteps. 3 is absent when empty.
type Hello struct {
	Account Hash
	Entry   []byte
	Steps   [][]byte
}

// AppendHello appends the encoding of h.
func AppendHello(b []byte, h *Hello) []byte {
	n := 2
	if len(h.Steps) > 0 {
		n++
	}
	b = cbor.AppendMap(b, n)
	b = cbor.AppendBytes(cbor.AppendUint(b, 1), h.Account[:])
	b = append(cbor.AppendUint(b, 2), h.Entry...)
	if len(h.Steps) > 0 {
		b = appendByteStrings(cbor.AppendUint(b, 3), h.Steps)
	}
	return b
}

// ParseHello reads a hello; it aliases b.
func ParseHello(b []byte) (Hello, error) {
	var h Hello
	r := cbor.NewReader(b)
	for f := r.Fields(); f.Next(); {
		switch f.Key() {
		case 1:
			h.Account = hashOf(&r)
		case 2:
			h.Entry = r.Raw()
		case 3:
			h.Steps = readByteStrings(&r)
		default:
			r.Skip()
		}
	}
	if err := r.Done(); err != nil {
		return Hello{}, Malformed(err)
	}
	if h.Entry == nil {
		return Hello{}, because(CodeMalformed, "hello without a proof")
	}
	return h, nil
}

// Steps are changes of the validator set, in ascending order of height: a map
// {1: [proof.Step (bytes) …], 2: more (bool)}. More says that others follow
// the last.
type Steps struct {
	Steps [][]byte
	More  bool
}

// AppendSteps appends the encoding of s.
func AppendSteps(b []byte, s *Steps) []byte {
	b = appendByteStrings(cbor.AppendUint(cbor.AppendMap(b, 2), 1), s.Steps)
	return cbor.AppendBool(cbor.AppendUint(b, 2), s.More)
}

// ParseSteps reads steps; they alias b. More without any step is refused: who
// asks for the rest would ask for ever.
func ParseSteps(b []byte) (Steps, error) {
	var s Steps
	r := cbor.NewReader(b)
	for f := r.Fields(); f.Next(); {
		switch f.Key() {
		case 1:
			s.Steps = readByteStrings(&r)
		case 2:
			s.More = r.Bool()
		default:
			r.Skip()
		}
	}
	if err := r.Done(); err != nil {
		return Steps{}, Malformed(err)
	}
	if s.More && len(s.Steps) == 0 {
		return Steps{}, because(CodeMalformed, "no steps, and more behind them")
	}
	return s, nil
}
