package client_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/net/gateway"
	"github.com/seed79541315/postern/sdk/client"
	"github.com/seed79541315/postern/sdk/key"
)

// ledger is a chain of one validator, to begin with, that certifies whatever it
// is given: the Node behind a real gateway, with just enough state for a client.
type ledger struct {
	validator, gateway *key.Key // the first validator
	genesis            *chain.Genesis
	raw                []byte

	mu       sync.Mutex
	header   chain.Header
	signers  []*key.Key // who sign the next block, and their set
	set      chain.ValidatorSet
	signedBy chain.ValidatorSet // the set before that one
	steps    [][]byte

	certificate chain.Certificate // of header
	devices
	withheld  bool   // no steps for anyone
	staleness uint64 // ms
	state     map[string][]byte
	standing  map[string]abi.Standing
	results   map[abi.Hash]abi.TxResult
	blocks    [][3][]byte
	submitted int
	decide    func(ctx context.Context, caller abi.Caller, domain string, request []byte) abi.Answer
	outcome   func(tx *chain.Tx) chain.Outcome // nil: OK
	proof     func(key []byte) ([]byte, error) // nil: true
}

func newLedger(t testing.TB) *ledger { return newLedgerOf(newKey(t), newKey(t)) }

// newLedgerOf begins a chain with a validator and a gateway.
func newLedgerOf(validator, gateway *key.Key) *ledger {
	l := &ledger{
		validator: validator, gateway: gateway, state: map[string][]byte{},
		standing: map[string]abi.Standing{}, results: map[abi.Hash]abi.TxResult{},
	}
	l.genesis = &chain.Genesis{
		Name: "test", Time: 1, Params: chain.DefaultParams(),
		Validators: chain.ValidatorSet{{ID: 1, Key: l.validator.Public()}},
		Accounts:   []chain.Grant{{Key: l.gateway.Public(), Roles: abi.RoleGateway | abi.RoleValidator}},
	}
	l.signers, l.set = []*key.Key{l.validator}, l.genesis.Validators
	l.raw = l.genesis.Append(nil)
	l.header = chain.Header{Chain: chain.ChainID(l.raw), Protocol: 1, Time: 1}
	record := chain.Account{Key: l.gateway.Public(), Roles: abi.RoleGateway | abi.RoleValidator}
	l.state[string(chain.AccountKey(l.gateway.AccountID()))] = record.Append(nil)
	l.state[string(chain.ParamsKey())] = l.genesis.Params.Append(nil)
	l.blocks = [][3][]byte{{chain.AppendBlock(nil, &chain.Block{Header: l.header, Txs: [][]byte{l.raw}}), nil, nil}}
	return l
}

// enrol makes a key an active account.
func (l *ledger) enrol(k *key.Key, device abi.Status) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.standing[string(k.Public())] = abi.Standing{Known: true, Account: k.AccountID(), Device: device}
}

// with changes or reads what the gateway's goroutines use too.
func (l *ledger) with(do func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	do()
}

// height is that of the newest block.
func (l *ledger) height() (h uint64) {
	l.with(func() { h = l.header.Height })
	return h
}

// commit makes a block with the changes.
func (l *ledger) commit(changes map[string][]byte, txs, outcomes [][]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.commitLocked(changes, txs, outcomes)
}

func (l *ledger) commitLocked(changes map[string][]byte, txs, outcomes [][]byte) {
	for k, v := range changes {
		l.state[k] = v
	}
	l.header = l.nextHeader(txs, outcomes, l.set)
	l.appendBlock(txs, outcomes)
}

func (l *ledger) nextHeader(txs, outcomes [][]byte, next chain.ValidatorSet) chain.Header {
	return chain.Header{
		Chain: l.header.Chain, Protocol: 1, Height: l.header.Height + 1, Time: l.header.Time + 1, Parent: l.header.Hash(),
		Transactions: proof.Root(txs), Outcomes: proof.Root(outcomes), State: rootOf(l.state), Validators: l.set.Hash(), NextValidators: next.Hash(),
	}
}

func (l *ledger) appendBlock(txs, outcomes [][]byte) {
	c := certifyBy(&l.header, l.set, l.signers)
	l.certificate = c
	l.blocks = append(l.blocks, [3][]byte{
		chain.AppendBlock(nil, &chain.Block{Header: l.header, Txs: txs}), c.Append(nil), chain.AppendOutcomes(nil, outcomes)})
}

// handOver makes a block behind which others sign. Ids are never used again.
func (l *ledger) handOver(to ...*key.Key) proof.Step {
	l.mu.Lock()
	defer l.mu.Unlock()
	next, last := chain.ValidatorSet{}, l.set[len(l.set)-1].ID
	for i, k := range to {
		next = append(next, chain.Validator{ID: last + uint64(i) + 1, Key: k.Public()})
	}
	l.header = l.nextHeader(nil, nil, next)
	l.appendBlock(nil, nil)
	s := proof.Step{Header: l.header, Certificate: l.certificate, Next: next}
	l.steps = append(l.steps, s.Append(nil))
	l.signedBy, l.signers, l.set = l.set, to, next
	return s
}

// certifyBy signs for as many validators of the set as there are keys.
func certifyBy(h *chain.Header, set chain.ValidatorSet, keys []*key.Key) chain.Certificate {
	c := chain.Certificate{Metadata: []byte("meta"), Sequence: 1}
	for i, k := range keys {
		signature, err := k.Sign(chain.AppendVote(nil, h.Chain, h.Hash(), c.Metadata, c.Sequence))
		if err != nil {
			panic(err)
		}
		c.Signatures = append(c.Signatures, chain.Signature{Validator: set[i].ID, Signature: signature})
	}
	return c
}

// certify signs for validator 1.
func certify(h *chain.Header, validator *key.Key) chain.Certificate {
	return certifyBy(h, chain.ValidatorSet{{ID: 1}}, []*key.Key{validator})
}

// entryLocked proves a key as an honest node does.
func (l *ledger) entryLocked(key []byte) proof.Entry {
	e := proof.Entry{Header: l.header, Certificate: l.certificate, Validators: l.set, State: prove(l.state, key)}
	if l.header.Validators != l.set.Hash() && l.signedBy != nil {
		e.Validators = l.signedBy // of the block that handed over
	}
	return e
}

func (l *ledger) Prove(key []byte) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.proof != nil {
		return l.proof(key)
	}
	e := l.entryLocked(key)
	return e.Append(nil), nil
}

func (l *ledger) Decide(ctx context.Context, caller abi.Caller, domain string, request []byte) abi.Answer {
	l.mu.Lock()
	decide := l.decide
	l.mu.Unlock()
	return decide(ctx, caller, domain, request)
}

func (l *ledger) Standing(key []byte) (abi.Standing, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.standing[string(key)], nil
}

func (l *ledger) Submit(_ context.Context, raw []byte, wait bool) (abi.TxResult, error) {
	tx, err := chain.ParseTx(raw)
	if err != nil {
		return abi.TxResult{}, err
	}
	if err := tx.Envelope().Verify(); err != nil {
		return abi.TxResult{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.submitted++
	if params, err := chain.ParseParams(l.state[string(chain.ParamsKey())]); err != nil || tx.Gas > params.TxGas {
		return abi.TxResult{}, errors.Join(err, abi.CodeGasCap)
	}
	if _, ok := l.results[tx.ID]; ok {
		return abi.TxResult{}, abi.CodeReplayed
	}
	o := chain.Outcome{ID: tx.ID, Gas: 1}
	if l.outcome != nil {
		o = l.outcome(tx)
	}
	outcome := chain.AppendOutcome(nil, &o)
	l.commitLocked(nil, [][]byte{raw}, [][]byte{outcome})
	result := abi.TxResult{ID: tx.ID, Height: l.header.Height, Outcome: outcome, Tx: raw}
	l.results[tx.ID] = result
	if !wait {
		return abi.TxResult{ID: tx.ID}, nil
	}
	result.Tx = nil
	return result, nil
}

func (l *ledger) Status() abi.NodeStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	return abi.NodeStatus{Chain: l.header.Chain, Name: l.genesis.Name, Height: l.header.Height, Block: l.header.Hash(), Protocol: 1, Staleness: l.staleness}
}

func (l *ledger) Query(_ context.Context, contract string, message []byte) ([]byte, uint64, error) {
	if contract == "strict" {
		return nil, 0, abi.Aborted(len(message))
	}
	if contract != "echo" {
		return nil, 0, abi.CodeUnknownContract
	}
	return bytes.Clone(message), 7, nil
}

func (l *ledger) Scan(prefix, start []byte, limit int) (pairs [][2][]byte, more bool, height uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var keys []string
	for k := range l.state {
		if strings.HasPrefix(k, string(prefix)) && k >= string(start) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys[:min(limit, len(keys))] {
		pairs = append(pairs, [2][]byte{[]byte(k), l.state[k]})
	}
	return pairs, len(keys) > limit, l.header.Height, nil
}

func (l *ledger) Block(height uint64) (block, certificate, outcomes []byte, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if height >= uint64(len(l.blocks)) {
		return nil, nil, nil, abi.CodeNotFound
	}
	b := l.blocks[height]
	return b[0], b[1], b[2], nil
}

func (l *ledger) Tx(id abi.Hash) (abi.TxResult, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r, ok := l.results[id]; ok {
		return r, nil
	}
	return abi.TxResult{}, abi.CodeNotFound
}

// Steps gives two at a time, so that clients have to ask again.
func (l *ledger) Steps(after uint64, limit int) (page [][]byte, more bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, raw := range l.steps {
		if s, err := proof.ParseStep(raw); err != nil {
			return nil, false, err
		} else if s.Header.Height <= after || l.withheld {
			continue
		}
		if len(page) == min(2, limit) {
			return page, true, nil
		}
		page = append(page, raw)
	}
	return page, false, nil
}

func (l *ledger) bundle(address string) *client.Bundle {
	return &client.Bundle{Genesis: l.raw, Gateways: []string{address}}
}

// serve runs a gateway of the ledger until the test ends or stop is called.
func (l *ledger) serve(t testing.TB, by *key.Key, address string) (addr string, stop func()) {
	t.Helper()
	return l.serveNode(t, l, by, address)
}

// serveNode runs a gateway of a node that says what the ledger says, or not.
func (l *ledger) serveNode(t testing.TB, n gateway.Node, by *key.Key, address string) (addr string, stop func()) {
	t.Helper()
	conn, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	s, err := gateway.New(gateway.Config{Conn: conn, Key: by.Private(), Account: l.gateway.AccountID(), Node: n, RequestRate: -1, ResetKey: [32]byte{1}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("gateway: %v", err)
		}
	})
	t.Cleanup(stop)
	return conn.LocalAddr().String(), stop
}

// namedKey is the same key in every process, for corpora of fuzz tests.
func namedKey(t testing.TB, name string) *key.Key {
	t.Helper()
	seed := sha256.Sum256([]byte(name))
	k, err := key.New(ed25519.NewKeyFromSeed(seed[:]))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newKey(t testing.TB) *key.Key {
	t.Helper()
	k, err := key.Generate()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// rootOf and prove are the state tree, straight from its definition.
func rootOf(state map[string][]byte) abi.Hash { return subtree(leaves(state), 0) }

type leaf struct{ key, value abi.Hash }

func leaves(state map[string][]byte) []leaf {
	var list []leaf
	for k, v := range state {
		list = append(list, leaf{sha256.Sum256([]byte(k)), sha256.Sum256(v)})
	}
	slices.SortFunc(list, func(a, b leaf) int { return bytes.Compare(a.key[:], b.key[:]) })
	return list
}

func subtree(list []leaf, depth int) abi.Hash {
	switch len(list) {
	case 0:
		return abi.Hash{}
	case 1:
		return proof.Leaf(list[0].key, list[0].value)
	}
	left, right := halves(list, depth)
	return proof.Inner(subtree(left, depth+1), subtree(right, depth+1))
}

func halves(list []leaf, depth int) (left, right []leaf) {
	i := slices.IndexFunc(list, func(l leaf) bool { return proof.Bit(l.key, depth) == 1 })
	if i < 0 {
		return list, nil
	}
	return list[:i], list[i:]
}

func prove(state map[string][]byte, key []byte) proof.State {
	p := proof.State{Siblings: []abi.Hash{}}
	at, list := proof.KeyHash(key), leaves(state)
	for depth := 0; len(list) > 1; depth++ {
		left, right := halves(list, depth)
		if proof.Bit(at, depth) == 1 {
			left, right = right, left
		}
		list = left
		p.Siblings = append(p.Siblings, subtree(right, depth+1))
	}
	switch {
	case len(list) == 1 && list[0].key == at:
		p.Present, p.Value = true, state[string(key)]
	case len(list) == 1:
		p.Other = &proof.OtherLeaf{Key: list[0].key, Value: list[0].value}
	}
	return p
}
