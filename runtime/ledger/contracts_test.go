package ledger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
)

// minus is a failed call's answer to the guest: a code as a negative i64.
func minus(c abi.Code) string {
	return string(binary.LittleEndian.AppendUint64(nil, uint64(-int64(c))))
}

// length is a succeeded call's answer.
func length(n int) string { return string(binary.LittleEndian.AppendUint64(nil, uint64(n))) }

func TestContractState(t *testing.T) {
	w := newWorld(t, nil)
	w.deploy(developer, "a", "ab")
	w.want(w.run(nobody, "a", do('s', 0, "k1", "1").add('s', 0, "k2", "2").add('s', 0, "l", "x")), abi.OK)
	w.want(w.run(nobody, "ab", do('s', 0, "k9", "other contract")), abi.OK)
	for _, c := range []struct {
		name string
		s    script
		want string
	}{
		{"get", do('g', 0, "k1", "").add('g', 0, "none", ""), "1-"},
		{"own writes", do('s', 0, "k1", "new").add('g', 0, "k1", "").add('d', 0, "k1", "").add('g', 0, "k1", ""), "new-"},
		{"scan", do('n', 3, "k", ""), "k2=2;.."},
		{"scan from", do('n', 2, "", "k3"), "l=x;."},
		{"scan of all", do('n', 3, "", ""), "k2=2;l=x;."},
		{"scan sees its start", do('s', 0, "k3", "3").add('n', 0, "k", "").add('s', 0, "k0", "0").add('d', 0, "k2", "").
			add('N', 0, "", "").add('N', 0, "", "").add('N', 0, "", ""), "k2=2;k3=3;."},
	} {
		o := w.run(nobody, "a", c.s)
		if o.Code != abi.OK || string(o.Result) != c.want {
			t.Errorf("%s: %v %q, want %q", c.name, o.Code, o.Result, c.want)
		}
	}
}

// A scan pays for what it passes over: the deletions of its block make it no
// cheaper than the entries were.
func TestScanPaysForWhatIsGone(t *testing.T) {
	const keys = 40
	w := newWorld(t, nil)
	w.deploy(developer, "a")
	all := func(op byte) (s script) {
		for i := range keys {
			s = s.add(op, 0, fmt.Sprintf("k%02d", i), "")
		}
		return s
	}
	scan := func(by person, prefix string) []byte {
		return w.tx(by, chain.OpCall, &chain.Call{Contract: "a", Message: do('n', 1, prefix, "")})
	}
	w.want(w.run(nobody, "a", all('s')), abi.OK)
	o := w.block(w.tx(nobody, chain.OpCall, &chain.Call{Contract: "a", Message: all('d')}), scan(nobody, "j"), scan(nobody, "k"))
	w.want(o[1], abi.OK)
	w.want(o[2], abi.OK)
	if string(o[2].Result) != "." || o[2].Gas < o[1].Gas+keys*5000 {
		t.Errorf("a scan over %d deletions gives %q and costs %d, one over nothing %d", keys, o[2].Result, o[2].Gas, o[1].Gas)
	}
	o = w.block(scan(nobody, "j"), scan(nobody, "k"))
	if string(o[1].Result) != "." || o[1].Gas != o[0].Gas {
		t.Errorf("in a later block it costs %d, one over nothing %d", o[1].Gas, o[0].Gas)
	}
}

// What fails is rolled back to the last byte, whatever was written before.
func TestFailedCallIsRolledBack(t *testing.T) {
	w := newWorld(t, nil)
	w.deploy(developer, "a", "b")
	w.want(w.run(nobody, "a", do('s', 0, "old", "1")), abi.OK)
	id := w.enrol("lock", nil)
	writes := do('s', 0, "old", "2").add('s', 0, "new", "3").add('d', 0, "old", "").add('e', 0, "t", "d").
		add('t', start+9_000_000, "", "").add('c', 0, "b", string(do('s', 0, "x", "y"))).add('S', int64(abi.StatusStolen), string(id[:]), "")
	for _, c := range []struct {
		name string
		end  script
		want abi.Code
	}{
		{"abort", do('x', 7, "", ""), abi.CodeAborted},
		{"trap", do('u', 0, "", ""), abi.CodeUnreachable},
		{"loop", do('l', 0, "", ""), abi.CodeOutOfGas},
		{"long result", do('r', 0, strings.Repeat("x", abi.MaxOutcomeData+1), ""), abi.CodeResultTooLong},
		{"empty key", do('s', 0, "", ""), abi.CodeKeyTooLong},
		{"long key", do('s', 0, strings.Repeat("k", abi.MaxKey+1), ""), abi.CodeKeyTooLong},
		{"long value", do('s', 0, "k", strings.Repeat("v", abi.MaxValue+1)), abi.CodeValueTooLong},
	} {
		before := w.dump()
		o := w.run(nobody, "a", append(append(script{}, writes...), c.end...))
		if o.Code != c.want || o.Events != nil || o.Gas == 0 {
			t.Errorf("%s: %+v, want %v", c.name, o, c.want)
		}
		if string(before) != string(w.dump()) {
			t.Errorf("%s: it left changes", c.name)
		}
	}
}

func TestNestedCalls(t *testing.T) {
	w := newWorld(t, nil)
	w.deploy(developer, "a", "b", "c")
	inB := func(s script) string { return string(s) }
	deep := do('r', 0, "x", "")
	for _, c := range []struct {
		name string
		s    script
		want string
	}{
		{"result", do('c', 0, "b", inB(do('r', 0, "hi", ""))), length(2) + "hi"},
		{"a failed one's changes are gone, its caller's stay",
			do('s', 0, "k", "mine").add('c', 0, "b", inB(do('s', 0, "k", "v").add('e', 0, "t", "gone").add('x', 9, "", ""))).add('g', 0, "k", "").add('q', 0, "b", inB(do('g', 0, "k", ""))),
			minus(abi.CodeAborted) + "mine" + length(1) + "-"},
		{"unknown", do('c', 0, "none", ""), minus(abi.CodeUnknownContract)},
		{"itself", do('c', 0, "a", ""), minus(abi.CodeReentrant)},
		{"itself by query", do('q', 0, "a", ""), minus(abi.CodeReentrant)},
		{"itself over another", do('c', 0, "b", inB(do('c', 0, "a", ""))), length(8) + minus(abi.CodeReentrant)},
		{"over two", do('c', 0, "b", inB(do('c', 0, "c", string(deep)))), length(9) + length(1) + "x"},
		{"a query changes nothing", do('q', 0, "b", inB(do('s', 0, "k", "v"))), minus(abi.CodeNotAllowedHere)},
		{"a query sees what was written", do('c', 0, "b", inB(do('s', 0, "k", "v"))).add('q', 0, "b", inB(do('g', 0, "k", ""))), length(0) + length(1) + "v"},
	} {
		o := w.run(nobody, "a", c.s)
		if o.Code != abi.OK || string(o.Result) != c.want || len(o.Events) != 0 {
			t.Errorf("%s: %v %q %v, want %q", c.name, o.Code, o.Result, o.Events, c.want)
		}
	}
	o := w.run(nobody, "a", do('c', 0, "b", inB(do('l', 0, "", ""))))
	w.want(o, abi.CodeOutOfGas) // the callee has all the gas that its caller has
}

func TestEvents(t *testing.T) {
	w := newWorld(t, nil)
	w.deploy(developer, "a", "b")
	o := w.run(nobody, "a", do('e', 0, "one", "1").add('c', 0, "b", string(do('e', 0, "two", "2"))))
	if len(o.Events) != 2 || o.Events[0].Contract != "a" || o.Events[1].Contract != "b" || string(o.Events[1].Topic) != "two" {
		t.Fatalf("events are %+v", o.Events)
	}
	var s script
	for range abi.MaxEvents + 1 {
		s = s.add('e', 0, "t", "")
	}
	w.want(w.run(nobody, "a", s), abi.CodeTooManyEvents)
}

// environment reads the map of an input: uints and ints as text, bytes and
// texts as they are.
func environment(t *testing.T, input []byte) map[uint64]string {
	t.Helper()
	r := cbor.NewReader(input)
	r.ArrayN(2)
	env := map[uint64]string{}
	for f := r.Fields(); f.Next(); {
		raw := r.Raw()
		v := cbor.NewReader(raw)
		switch v.Kind() {
		case cbor.KindBytes:
			env[f.Key()] = string(v.Bytes())
		case cbor.KindText:
			env[f.Key()] = v.Text()
		default:
			env[f.Key()] = string(raw)
		}
	}
	r.Skip()
	if err := r.Done(); err != nil {
		t.Fatal(err)
	}
	return env
}

// What a contract is told about its caller, at the top and in a nested call.
func TestInput(t *testing.T) {
	w := newWorld(t, nil)
	w.deploy(developer, "a", "b")
	id := w.enrol("lock", chain.Labels{"floor": "3"})
	o := w.run("lock", "a", do('i', 0, "", ""))
	env := environment(t, o.Result)
	device, _ := find(w, chain.DeviceKey(id), raw)
	if env[5] != string(id[:]) || env[7] != string(device) || env[4] != "a" || env[8] != string(o.ID[:]) || env[9] != idText(developer) || env[11] != "" {
		t.Errorf("at the top: %v", env)
	}
	o = w.run(owner, "a", do('c', 0, "b", string(do('i', 0, "", ""))))
	env = environment(t, o.Result[8:])
	_, roles := env[6]
	if env[5] != idText(owner) || roles || env[11] != "a" || env[4] != "b" || env[8] != string(o.ID[:]) {
		t.Errorf("nested: %v", env)
	}
	at := w.l.Head().Time
	w.want(w.run(owner, "a", do('t', at+50, string(do('i', 0, "", "")), "")), abi.OK)
	env = environment(t, w.tickOver()[0].Result)
	if env[5] != "" || env[8] != "" || env[9] != idText(developer) {
		t.Errorf("timer: %v", env)
	}
}

func idText(p person) string { id := p.id(); return string(id[:]) }

// A contract sets the status of its owner's devices only, and cannot undo
// what only the owner may.
func TestContractSetsStatus(t *testing.T) {
	w := newWorld(t, nil)
	w.deploy(other, "a")
	w.must(other, chain.OpEnrol, w.enrolment("mine", other, nil))
	w.enrol("foreign", nil)
	mine, foreign := person("mine").id(), person("foreign").id()
	set := func(id abi.Hash, s abi.Status, reason string) string {
		t.Helper()
		o := w.run(nobody, "a", do('S', int64(s), string(id[:]), reason))
		w.want(o, abi.OK)
		return string(o.Result)
	}
	code := func(c abi.Code) string { return string(binary.LittleEndian.AppendUint32(nil, uint32(-int32(c)))) }
	for _, c := range []struct {
		name   string
		id     abi.Hash
		s      abi.Status
		reason string
		want   abi.Code
	}{
		{"its owner's", mine, abi.StatusQuarantined, "too many failures", abi.OK},
		{"another's", foreign, abi.StatusQuarantined, "", abi.CodeNotPermitted},
		{"no device", other.id(), abi.StatusQuarantined, "", abi.CodeUnknownDevice},
		{"no status", mine, 9, "", abi.CodeBadStatus},
		{"control characters", mine, abi.StatusActive, "\x1b[2J", abi.CodeBadArgument},
		{"not UTF-8", mine, abi.StatusActive, "\xff", abi.CodeBadArgument},
		{"stolen", mine, abi.StatusStolen, "", abi.OK},
		{"found", mine, abi.StatusActive, "", abi.CodeBadStatus},
	} {
		if got := set(c.id, c.s, c.reason); got != code(c.want) {
			t.Errorf("%s: %x, want %v", c.name, got, c.want)
		}
	}
	d := record(w, chain.DeviceKey(mine), chain.ParseDevice)
	if d.Status != abi.StatusStolen || d.SetBy != nil {
		t.Errorf("device is %+v", d)
	}
	o := w.run(nobody, "a", do('D', 0, string(mine[:]), "").add('D', 0, string(foreign[:]), ""))
	w.want(o, abi.OK)
	if o = w.run(nobody, "a", do('D', 0, idText(nobody), "")); string(o.Result) != "-" {
		t.Errorf("an account without a device has the record %x", o.Result)
	}
}

func TestQuery(t *testing.T) {
	w := newWorld(t, nil)
	w.deploy(developer, "a", "b")
	w.want(w.run(nobody, "a", do('s', 0, "k", "v")), abi.OK)
	w.want(w.run(nobody, "b", do('s', 0, "k", "b's")), abi.OK)
	ctx := context.Background()
	out, height, err := w.l.Query(ctx, "a", do('g', 0, "k", "").add('n', 2, "", "").add('q', 0, "b", string(do('g', 0, "k", ""))))
	if want := "vk=v;." + length(3) + "b's"; err != nil || string(out) != want || height != w.l.Head().Height {
		t.Fatalf("%q at %d, %v, want %q", out, height, err, want)
	}
	for _, c := range []struct {
		name, contract string
		s              script
		want           abi.Code
	}{
		{"unknown", "none", nil, abi.CodeUnknownContract},
		{"a change", "a", do('s', 0, "k", "w"), abi.CodeNotAllowedHere},
		{"a call", "a", do('c', 0, "b", ""), abi.CodeNotAllowedHere},
		{"the clock", "a", do('w', 0, "", ""), abi.CodeNotAllowedHere},
		{"abort", "a", do('x', 3, "", ""), abi.CodeAborted},
		{"loop", "a", do('l', 0, "", ""), abi.CodeOutOfGas},
	} {
		_, _, err := w.l.Query(ctx, c.contract, c.s)
		wantCode(t, c.name, err, c.want)
	}
	if _, _, err := w.l.Query(ctx, "a", do('x', 3, "", "")); !errors.Is(err, abi.Aborted(3)) {
		t.Errorf("the contract's own code is not told: %v", err)
	}
	hash := w.upload(developer, append(append([]byte{}, scriptWasm...), 0, 3, 2, 'q', 'q'))
	w.must(developer, chain.OpDeploy, &chain.Deploy{Name: "pending", Code: hash})
	_, _, err = w.l.Query(ctx, "pending", nil)
	wantCode(t, "pending", err, abi.CodeContractPending)
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	w.tickOver()
	_, _, err = w.l.Query(cancelled, "pending", nil)
	if err != nil {
		wantCode(t, "too late", err, abi.CodeTimeout)
	}
}
