package client_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/sdk/client"
	"github.com/seed79541315/postern/sdk/key"
)

// keysOf makes n keys.
func keysOf(t testing.TB, n int) (keys []*key.Key) {
	for range n {
		keys = append(keys, newKey(t))
	}
	return keys
}

// moved is a ledger that was handed over to four validators at height 2 and to
// four others at height 4, and has one block more.
func moved(t testing.TB) (l *ledger, first, second proof.Step) {
	l = newLedger(t)
	l.commit(map[string][]byte{"door": []byte("open")}, nil, nil)
	first = l.handOver(keysOf(t, 4)...)
	l.commit(nil, nil, nil)
	second = l.handOver(keysOf(t, 4)...)
	l.commit(map[string][]byte{"door": []byte("locked")}, nil, nil)
	return l, first, second
}

func light(t testing.TB, b *client.Bundle) *client.LightClient {
	t.Helper()
	l, err := client.NewLight(b)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *ledger) entry(key string) []byte {
	e := l.entryLocked([]byte(key))
	return e.Append(nil)
}

// certifiedAt is the header of a height as the ledger has it.
func (l *ledger) certifiedAt(t testing.TB, height uint64) client.Certified {
	t.Helper()
	b, err := chain.ParseBlock(l.blocks[height][0])
	if err != nil {
		t.Fatal(err)
	}
	c, err := chain.ParseCertificate(l.blocks[height][1])
	if err != nil {
		t.Fatal(err)
	}
	return client.Certified{Header: b.Header, Certificate: c}
}

func accept(v *client.LightClient, c client.Certified) error {
	_, err := v.Header(&c.Header, &c.Certificate)
	return err
}

func TestLightClientWalksToTodaysValidators(t *testing.T) {
	l, _, _ := moved(t)
	v := light(t, l.bundle(""))
	if _, err := v.Entry(l.entry("door"), []byte("door"), 0); !errors.Is(err, client.ErrUnknownValidators) || !errors.Is(err, abi.CodeBadProof) {
		t.Fatalf("before the steps: %v", err)
	}
	if v.Checkpoint() != nil {
		t.Error("a checkpoint of nothing")
	}
	for i, step := range l.steps {
		if after := v.StepsAfter(math.MaxUint64); after != uint64(2*i) {
			t.Errorf("before step %d it wants steps after %d", i, after)
		}
		for range 2 { // a step that is known changes nothing
			if err := v.Advance(step); err != nil {
				t.Fatal(err)
			}
		}
	}
	e, err := v.Entry(l.entry("door"), []byte("door"), 0)
	if err != nil || !e.Present || string(e.Value) != "locked" || e.Height != 5 || e.Signers != 4 || len(e.Validators) != 4 {
		t.Fatalf("%+v, %v", e, err)
	}
	if absent, err := v.Entry(l.entry("gate"), []byte("gate"), 5); err != nil || absent.Present {
		t.Errorf("absence: %+v, %v", absent, err)
	}
	if _, err := v.Entry(l.entry("door"), []byte("door"), 6); !errors.Is(err, abi.CodeTooStale) {
		t.Errorf("below the floor: %v", err)
	}
	for height := uint64(1); height <= 5; height++ { // each by the validators of its time
		if err := accept(v, l.certifiedAt(t, height)); err != nil {
			t.Errorf("header %d: %v", height, err)
		}
	}
	c := v.Checkpoint()
	if v.Height() != 5 || c == nil || c.Height != 5 || c.Block != l.header.Hash() || c.Validators.Hash() != l.set.Hash() {
		t.Errorf("height %d, checkpoint %+v", v.Height(), c)
	}
	// Someone else begins there, and needs no step.
	bundle := l.bundle("")
	bundle.Checkpoint = c
	l.commit(nil, nil, nil)
	if _, err := light(t, bundle).Entry(l.entry("door"), []byte("door"), 5); err != nil {
		t.Errorf("from the checkpoint: %v", err)
	}
}

func TestFalseSteps(t *testing.T) {
	l, first, second := moved(t)
	other, _, _ := moved(t)
	outsiders := keysOf(t, 4)
	takeOver := chain.ValidatorSet{{ID: 9, Key: outsiders[0].Public()}}
	forge := func(change func(s *proof.Step), by ...*key.Key) []byte {
		s := first
		change(&s)
		if by != nil {
			s.Certificate = certifyBy(&s.Header, l.genesis.Validators, by)
		}
		return s.Append(nil)
	}
	for name, test := range map[string]struct {
		step []byte
		code abi.Code
	}{
		"garbage":                   {[]byte("garbage"), abi.CodeMalformed},
		"half":                      {l.steps[0][:100], abi.CodeMalformed},
		"another chain's":           {other.steps[0], abi.CodeWrongChain},
		"another chain's, renamed":  {forge(func(s *proof.Step) { s.Header.Chain = abi.Hash{1} }, l.validator), abi.CodeWrongChain},
		"out of order":              {second.Append(nil), abi.CodeBadProof},
		"signed by others":          {forge(func(*proof.Step) {}, outsiders[0]), abi.CodeBadSignature},
		"signed by nobody":          {forge(func(s *proof.Step) { s.Certificate.Signatures = nil }), abi.CodeBadProof},
		"to others than it says":    {forge(func(s *proof.Step) { s.Next = takeOver }), abi.CodeBadProof},
		"changed to lead to others": {forge(func(s *proof.Step) { s.Next = takeOver; s.Header.NextValidators = takeOver.Hash() }), abi.CodeBadSignature},
		"to nobody":                 {forge(func(s *proof.Step) { s.Next = nil }), abi.CodeBadProof},
		"to the same":               {forge(func(s *proof.Step) { s.Next = l.genesis.Validators; s.Header.NextValidators = s.Header.Validators }, l.validator), abi.CodeBadProof},
		"of height 0":               {forge(func(s *proof.Step) { s.Header.Height = 0 }, l.validator), abi.CodeTooStale},
	} {
		v := light(t, l.bundle(""))
		if err := v.Advance(test.step); !errors.Is(err, test.code) {
			t.Errorf("%s: %v, want %v", name, err, test.code)
		}
		if v.StepsAfter(math.MaxUint64) != 0 || v.Height() != 0 || v.Checkpoint() != nil {
			t.Errorf("%s: it moved", name)
		}
		for _, step := range l.steps { // and the good ones still lead on
			if err := v.Advance(step); err != nil {
				t.Errorf("%s, then a good step: %v", name, err)
			}
		}
	}
}

// Of four validators three must sign, and which they are does not matter.
func TestStepSignedByTooFew(t *testing.T) {
	l, _, second := moved(t)
	all := second.Certificate.Signatures
	for n := range len(all) + 1 {
		v := light(t, l.bundle(""))
		if err := v.Advance(l.steps[0]); err != nil {
			t.Fatal(err)
		}
		s := second
		s.Certificate.Signatures = all[len(all)-n:]
		if err := v.Advance(s.Append(nil)); (err == nil) != (n >= 3) {
			t.Errorf("%d of 4 signatures: %v", n, err)
		}
	}
}

// Validators who have left sign nothing any more, however old the proof says
// to be, and new ones nothing from before their time.
func TestValidatorsSignInTheirTimeOnly(t *testing.T) {
	l, first, _ := moved(t)
	v := light(t, l.bundle(""))
	for _, step := range l.steps {
		if err := v.Advance(step); err != nil {
			t.Fatal(err)
		}
	}
	later := l.certifiedAt(t, 5)
	later.Header.Validators = first.Header.Validators
	later.Certificate = certify(&later.Header, l.validator)
	if err := accept(v, later); !errors.Is(err, client.ErrUnknownValidators) {
		t.Errorf("height 5 by the validators of the genesis: %v", err)
	}
	earlier := l.certifiedAt(t, 1)
	earlier.Header.Validators = l.set.Hash()
	earlier.Certificate = certifyBy(&earlier.Header, l.set, l.signers)
	if err := accept(v, earlier); !errors.Is(err, client.ErrUnknownValidators) {
		t.Errorf("height 1 by today's validators: %v", err)
	}
	old := l.certifiedAt(t, 5)
	e := l.entryLocked([]byte("door"))
	e.Validators = l.genesis.Validators // a set that is not the header's
	if _, err := v.Entry(e.Append(nil), []byte("door"), 0); !errors.Is(err, abi.CodeBadProof) {
		t.Errorf("an entry beside an old set: %v", err)
	}
	if err := accept(v, old); err != nil {
		t.Error(err)
	}
	zero := client.Certified{Header: chain.Header{Chain: l.header.Chain, Validators: first.Header.Validators}}
	zero.Certificate = certify(&zero.Header, l.validator)
	if err := accept(v, zero); !errors.Is(err, abi.CodeBadProof) {
		t.Errorf("a certified genesis: %v", err)
	}
}

// Whatever two histories validators sign, who sees both has the evidence.
func TestForks(t *testing.T) {
	// twin signs another header of the height of c, changed.
	twin := func(l *ledger, c client.Certified, change func(h *chain.Header)) client.Certified {
		change(&c.Header)
		c.Certificate = certify(&c.Header, l.validator)
		return c
	}
	takeOver := chain.ValidatorSet{{ID: 7, Key: newKey(t).Public()}}
	for name, see := range map[string]func(l *ledger, v *client.LightClient) error{
		"two headers of a height": func(l *ledger, v *client.LightClient) error {
			one := l.certifiedAt(t, 3)
			return errors.Join(accept(v, one), accept(v, twin(l, one, func(h *chain.Header) { h.Time++ })))
		},
		"another parent": func(l *ledger, v *client.LightClient) error {
			return errors.Join(accept(v, l.certifiedAt(t, 3)), accept(v, twin(l, l.certifiedAt(t, 4), func(h *chain.Header) { h.Parent[0]++ })))
		},
		"another child": func(l *ledger, v *client.LightClient) error {
			return errors.Join(accept(v, twin(l, l.certifiedAt(t, 4), func(h *chain.Header) { h.Parent[0]++ })), accept(v, l.certifiedAt(t, 3)))
		},
		"a hand-over that is passed over": func(l *ledger, v *client.LightClient) error {
			change := twin(l, l.certifiedAt(t, 2), func(h *chain.Header) { h.NextValidators = takeOver.Hash() })
			return errors.Join(accept(v, change), accept(v, l.certifiedAt(t, 5)))
		},
		"a hand-over behind what is known": func(l *ledger, v *client.LightClient) error {
			change := twin(l, l.certifiedAt(t, 2), func(h *chain.Header) { h.NextValidators = takeOver.Hash() })
			return errors.Join(accept(v, l.certifiedAt(t, 5)), accept(v, change))
		},
		"a step below what is known": func(l *ledger, v *client.LightClient) error {
			change := twin(l, l.certifiedAt(t, 2), func(h *chain.Header) { h.NextValidators = takeOver.Hash() })
			s := proof.Step{Header: change.Header, Certificate: change.Certificate, Next: takeOver}
			return errors.Join(accept(v, l.certifiedAt(t, 5)), v.Advance(s.Append(nil)))
		},
		"two steps of a height": func(l *ledger, v *client.LightClient) error {
			one := l.handOver(newKey(t))
			two := twin(l, l.certifiedAt(t, 6), func(h *chain.Header) { h.NextValidators = takeOver.Hash() })
			s := proof.Step{Header: two.Header, Certificate: two.Certificate, Next: takeOver}
			return errors.Join(v.Advance(one.Append(nil)), v.Advance(s.Append(nil)))
		},
		"two steps of two heights": func(l *ledger, v *client.LightClient) error {
			one := l.handOver(newKey(t))
			two := twin(l, l.certifiedAt(t, 3), func(h *chain.Header) { h.NextValidators = takeOver.Hash() })
			s := proof.Step{Header: two.Header, Certificate: two.Certificate, Next: takeOver}
			return errors.Join(v.Advance(one.Append(nil)), v.Advance(s.Append(nil)))
		},
		"a header beside a step": func(l *ledger, v *client.LightClient) error {
			one := l.handOver(newKey(t))
			return errors.Join(v.Advance(one.Append(nil)), accept(v, twin(l, l.certifiedAt(t, 6), func(h *chain.Header) { h.Time++ })))
		},
		"another block behind a step": func(l *ledger, v *client.LightClient) error {
			successor := newKey(t)
			one := l.handOver(successor)
			l.commit(nil, nil, nil)
			c := l.certifiedAt(t, 7)
			c.Header.Parent[0]++
			c.Certificate = certifyBy(&c.Header, l.set, []*key.Key{successor})
			return errors.Join(v.Advance(one.Append(nil)), accept(v, c))
		},
	} {
		l := newLedger(t)
		for range 5 {
			l.commit(nil, nil, nil)
		}
		v := light(t, l.bundle(""))
		err := see(l, v)
		var fork *client.ForkError
		if !errors.As(err, &fork) || !errors.Is(err, abi.CodeBadProof) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if name != "another block behind a step" && !slices.Equal(fork.Both(), []uint64{1}) || !strings.Contains(err.Error(), "certified") {
			t.Errorf("%s: %v, signed by %v", name, err, fork.Both())
		}
		if err := fork.One.Certificate.Verify(&fork.One.Header, l.genesis.Validators); err != nil {
			t.Errorf("%s: the evidence is none: %v", name, err)
		}
	}
}

// What was seen long ago is forgotten, but not the changes of validators.
func TestLightClientRemembersLittle(t *testing.T) {
	l := newLedger(t)
	for range 200 {
		l.commit(nil, nil, nil)
	}
	v := light(t, l.bundle(""))
	for height := uint64(1); height <= 200; height++ {
		for range 2 {
			if err := accept(v, l.certifiedAt(t, height)); err != nil {
				t.Fatal(err)
			}
		}
	}
	late := l.certifiedAt(t, 190)
	late.Header.Time++
	late.Certificate = certify(&late.Header, l.validator)
	var fork *client.ForkError
	if err := accept(v, late); !errors.As(err, &fork) {
		t.Errorf("a fork ten blocks ago: %v", err)
	}
}

func TestCheckpoints(t *testing.T) {
	l, _, _ := moved(t)
	at := func(height uint64, set chain.ValidatorSet) *client.Bundle {
		b := l.bundle("")
		h := l.certifiedAt(t, height).Header
		b.Checkpoint = &client.Checkpoint{Height: height, Block: h.Hash(), Validators: set}
		return b
	}
	middle, err := proof.ParseStep(l.steps[0])
	if err != nil {
		t.Fatal(err)
	}
	v := light(t, at(3, middle.Next))
	if v.Height() != 3 || v.StepsAfter(math.MaxUint64) != 3 || v.StepsAfter(3) != 0 {
		t.Errorf("height %d, steps after %d and %d", v.Height(), v.StepsAfter(math.MaxUint64), v.StepsAfter(3))
	}
	if err := v.Advance(l.steps[1]); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Entry(l.entry("door"), []byte("door"), 3); err != nil {
		t.Error(err)
	}
	// What lies below is proved from the genesis; the checkpoint itself is known.
	late := light(t, at(5, l.set))
	if err := accept(late, l.certifiedAt(t, 3)); !errors.Is(err, client.ErrUnknownValidators) {
		t.Errorf("below the checkpoint without steps: %v", err)
	}
	if err := accept(late, l.certifiedAt(t, 5)); err != nil {
		t.Errorf("the checkpoint: %v", err)
	}
	few := l.certifiedAt(t, 5)
	few.Certificate.Signatures = few.Certificate.Signatures[:2]
	if err := accept(late, few); err == nil {
		t.Error("half a certificate of the checkpoint was believed")
	}
	if err := v.Advance(l.steps[0]); err != nil {
		t.Fatal(err)
	}
	for height := uint64(1); height <= 5; height++ {
		if err := accept(v, l.certifiedAt(t, height)); err != nil {
			t.Errorf("header %d: %v", height, err)
		}
	}
	// Another block than the checkpoint's, or another one's child.
	for height, change := range map[uint64]func(b *client.Bundle){
		3: func(b *client.Bundle) { b.Checkpoint.Block[0]++ },
		4: func(b *client.Bundle) { b.Checkpoint.Block[0]++ },
	} {
		b := at(3, middle.Next)
		change(b)
		v := light(t, b)
		if err := v.Advance(l.steps[0]); err != nil {
			t.Fatal(err)
		}
		var fork *client.ForkError
		if err := accept(v, l.certifiedAt(t, height)); !errors.As(err, &fork) || !strings.Contains(err.Error(), "checkpoint at height 3") {
			t.Errorf("header %d against a false checkpoint: %v", height, err)
		}
	}
	// A checkpoint right at a step, which leads elsewhere.
	b := at(2, chain.ValidatorSet{{ID: 8, Key: newKey(t).Public()}})
	if err := light(t, b).Advance(l.steps[0]); err == nil {
		t.Error("a step to other validators than the checkpoint's was believed")
	}
	if err := light(t, at(2, middle.Next)).Advance(l.steps[0]); err != nil {
		t.Errorf("a step to the checkpoint: %v", err)
	}
	for name, c := range map[string]*client.Checkpoint{
		"height 0":      {Block: abi.Hash{1}, Validators: l.set},
		"no block":      {Height: 3, Validators: l.set},
		"no validators": {Height: 3, Block: abi.Hash{1}},
		"out of order":  {Height: 3, Block: abi.Hash{1}, Validators: chain.ValidatorSet{l.set[1], l.set[0]}},
		"a bad key":     {Height: 3, Block: abi.Hash{1}, Validators: chain.ValidatorSet{{ID: 1, Key: make([]byte, 31)}}},
	} {
		b := l.bundle("")
		b.Checkpoint = c
		if _, err := client.NewLight(b); !errors.Is(err, abi.CodeMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestProofVerifiesAlone(t *testing.T) {
	l, _, _ := moved(t)
	address, _ := l.serve(t, l.gateway, "127.0.0.1:0")
	c, _ := dial(t, l, address)
	p, e, err := c.Prove(t.Context(), []byte("door"))
	if err != nil || e.Height != 5 {
		t.Fatalf("%+v, %v", e, err)
	}
	var file bytes.Buffer
	if err := p.Write(&file); err != nil {
		t.Fatal(err)
	}
	// A year later, with the bundle and the file alone.
	back, err := client.ParseProof(file.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	e, err = back.Verify(light(t, l.bundle("")))
	if err != nil || !e.Present || string(e.Value) != "locked" || e.Height != 5 || e.Signers != 4 || len(back.Steps) != 2 {
		t.Fatalf("%+v, %v", e, err)
	}
	if !bytes.Equal(chain.AppendHeader(nil, &e.Header), p.Header) {
		t.Error("another header")
	}
	// Also with a bundle whose checkpoint lies on the way, or is the last step.
	for _, height := range []uint64{1, 2, 3, 4} {
		b := l.bundle("")
		h := l.certifiedAt(t, height).Header
		b.Checkpoint = &client.Checkpoint{Height: height, Block: h.Hash(), Validators: l.setBehind(t, height)}
		if _, err := back.Verify(light(t, b)); err != nil {
			t.Errorf("from a checkpoint at height %d: %v", height, err)
		}
	}
	absent, _, err := c.Prove(t.Context(), []byte("gate"))
	if err != nil {
		t.Fatal(err)
	}
	if e, err := absent.Verify(light(t, l.bundle(""))); err != nil || e.Present {
		t.Errorf("absence: %+v, %v", e, err)
	}
	for height := uint64(1); height <= 5; height++ {
		p, e, err := c.ProveHeader(t.Context(), height)
		if err != nil || e.Height != height {
			t.Fatalf("header %d: %+v, %v", height, e, err)
		}
		if e, err := p.Verify(light(t, l.bundle(""))); err != nil || e.Height != height || len(e.Validators) == 0 {
			t.Errorf("header %d alone: %+v, %v", height, e, err)
		}
	}
	if _, _, err := c.ProveHeader(t.Context(), 0); !errors.Is(err, abi.CodeBadArgument) {
		t.Errorf("the genesis block: %v", err)
	}
}

// setBehind is the set that signs the block behind a height.
func (l *ledger) setBehind(t testing.TB, height uint64) chain.ValidatorSet {
	t.Helper()
	set := l.genesis.Validators
	for _, raw := range l.steps {
		if s, err := proof.ParseStep(raw); err != nil {
			t.Fatal(err)
		} else if s.Header.Height <= height {
			set = s.Next
		}
	}
	return set
}

func TestFalseProofFiles(t *testing.T) {
	l, _, _ := moved(t)
	other, _, _ := moved(t)
	address, _ := l.serve(t, l.gateway, "127.0.0.1:0")
	c, _ := dial(t, l, address)
	good, _, err := c.Prove(t.Context(), []byte("door"))
	if err != nil {
		t.Fatal(err)
	}
	for name, forge := range map[string]func(p *client.Proof){
		"without steps":         func(p *client.Proof) { p.Steps = nil },
		"a step left out":       func(p *client.Proof) { p.Steps = p.Steps[1:] },
		"steps in disorder":     func(p *client.Proof) { p.Steps = [][]byte{p.Steps[1], p.Steps[0]} },
		"another chain's steps": func(p *client.Proof) { p.Steps = other.steps },
		"another key":           func(p *client.Proof) { p.Key = []byte("gate") },
		"another value":         func(p *client.Proof) { p.State = bytes.Replace(p.State, []byte("locked"), []byte("opened"), 1) },
		"no state":              func(p *client.Proof) { p.State = nil },
		"half a certificate":    func(p *client.Proof) { p.Certificate = p.Certificate[:50] },
		"another chain":         func(p *client.Proof) { p.Chain[0]++ },
		"another header":        func(p *client.Proof) { p.Header = chain.AppendHeader(nil, &other.header) },
		"garbage for a header":  func(p *client.Proof) { p.Header = []byte("x") },
		"garbage for a step":    func(p *client.Proof) { p.Steps = [][]byte{[]byte("x")} },
		"garbage for the proof": func(p *client.Proof) { p.State = []byte("x") },
	} {
		p := *good
		p.Steps = slices.Clone(good.Steps)
		forge(&p)
		if e, err := p.Verify(light(t, l.bundle(""))); err == nil {
			t.Errorf("%s: %+v", name, e)
		}
	}
	var file bytes.Buffer
	if err := good.Write(&file); err != nil {
		t.Fatal(err)
	}
	if _, err := good.Verify(light(t, other.bundle(""))); !errors.Is(err, abi.CodeWrongChain) {
		t.Errorf("with another chain's bundle: %v", err)
	}
	text := file.String()
	for name, text := range map[string]string{
		"empty": "", "no JSON": "proof", "no chain": strings.Replace(text, `"chain": "`, `"chain": "zz`, 1),
		"another height": strings.Replace(text, `"height": 5`, `"height": 4`, 1),
		"a key of air":   strings.Replace(text, `"key": "`, `"key": "g`, 1),
		"no key":         strings.Replace(text, `"key"`, `"kez"`, 1),
		"no state":       strings.Replace(text, `"state"`, `"stato"`, 1),
		"no header":      strings.Replace(text, `"header"`, `"reader"`, 1),
		"too large":      strings.Repeat(" ", 17<<20),
	} {
		if p, err := client.ParseProof([]byte(text)); err == nil {
			t.Errorf("%s: %+v", name, p)
		} else if client.CodeOf(err) == abi.CodeInternal {
			t.Errorf("%s: %v has no code", name, err)
		}
	}
}

func TestBundleKeepsACheckpoint(t *testing.T) {
	l, _, _ := moved(t)
	b := l.bundle("127.0.0.1:1")
	b.Height, b.Checkpoint = 5, &client.Checkpoint{Height: 5, Block: l.header.Hash(), Validators: l.set}
	var file bytes.Buffer
	if err := b.Write(&file); err != nil {
		t.Fatal(err)
	}
	back, err := client.ParseBundle(file.Bytes())
	if err != nil || back.Checkpoint == nil || back.Checkpoint.Block != l.header.Hash() || back.Checkpoint.Validators.Hash() != l.set.Hash() {
		t.Fatalf("%+v, %v", back, err)
	}
	for _, change := range [][2]string{
		{`"validators": [`, `"validators": [], "x": [`}, {`"id": 6`, `"id": 9`}, {`"block": "`, `"block": "00`}, {`"key": "`, `"key": "zz`}, {`"checkpoint": {`, `"checkpoint": 5, "x": {`},
	} {
		text := strings.Replace(file.String(), change[0], change[1], 1)
		if text == file.String() {
			t.Fatalf("%q is not in %s", change[0], text)
		}
		if _, err := client.ParseBundle([]byte(text)); !errors.Is(err, abi.CodeMalformed) {
			t.Errorf("%s: %v", change[1], err)
		}
	}
}

func FuzzParseProof(f *testing.F) {
	l := newLedgerOf(namedKey(f, "validator"), namedKey(f, "gateway"))
	l.commit(map[string][]byte{"door": []byte("open")}, nil, nil)
	l.handOver(namedKey(f, "successor"))
	l.commit(nil, nil, nil)
	e := l.entryLocked([]byte("door"))
	good := &client.Proof{Chain: l.header.Chain, Header: chain.AppendHeader(nil, &l.header), Certificate: l.certificate.Append(nil),
		Key: []byte("door"), State: e.State.Append(nil), Steps: l.steps}
	text, err := json.Marshal(good)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"chain":"00","height":1,"steps":[null]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := client.ParseProof(text)
		if err != nil {
			return
		}
		if e, err := p.Verify(light(t, l.bundle(""))); err == nil && (e.Header != l.header || p.Key != nil && string(p.Key) == "door" != e.Present) {
			t.Errorf("%s proves %+v", text, e)
		}
		again, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.ParseProof(again); err != nil {
			t.Errorf("%s came back as %s: %v", text, again, err)
		}
	})
}
