package declog

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/chain/chaintest"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/storage/disk"
)

var (
	testChain   = abi.Hash{1, 2, 3}
	testAccount = chain.AccountID(chaintest.Key(1).Public())
	testSecret  = bytes.Repeat([]byte{5}, KeySize)
	testSet     = chain.ValidatorSet{{ID: 1, Key: chaintest.Key(9).Public()}}
	anchorKey   = chain.AnchorKey(testAccount)
	testTrust   = proof.Trusted{Chain: testChain, Validators: testSet}
)

// fakeLedger anchors by the rules of the ledger, at once.
type fakeLedger struct {
	mu       sync.Mutex
	anchored chain.Anchored
	heads    []Head
	height   uint64
	hold     bool         // blocks do not come
	refused  int          // heads that are not good
	log      *Log         // is told of blocks
	delay    func() error // of Submit
}

func (l *fakeLedger) config() Config {
	return Config{
		Dir: "/home/log", Key: testSecret, Chain: testChain, Account: testAccount, Signer: chaintest.Key(1), Clock: func() int64 { return 1_767_600_000_000 },
		Anchored: l.last, Submit: l.submit, Prove: l.prove, Logger: slog.New(slog.DiscardHandler),
	}
}

func (l *fakeLedger) last() (chain.Anchored, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.anchored, nil
}

func (l *fakeLedger) submit(_ context.Context, args []byte) error {
	l.mu.Lock()
	delay := l.delay
	l.mu.Unlock()
	if delay != nil {
		if err := delay(); err != nil {
			return err
		}
	}
	if err := l.execute(args); err != nil {
		return err
	}
	if l.log != nil {
		l.log.Committed()
	}
	return nil
}

func (l *fakeLedger) execute(args []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hold {
		return nil
	}
	a, err := chain.ParseAnchor(args)
	if err != nil {
		return err
	}
	origin := proof.LogOrigin(testChain, testAccount)
	c, err := proof.OpenCheckpoint(a.Note, origin, chaintest.Key(1).Public())
	if err == nil {
		err = c.VerifyConsistency(&proof.Checkpoint{Origin: origin, Size: l.anchored.Size, Root: l.anchored.Root}, a.Path)
	}
	if err != nil {
		l.refused++
		return err
	}
	l.height++
	l.anchored = chain.Anchored{Size: c.Size, Root: c.Root, Height: l.height, Time: int64(l.height), Note: bytes.Clone(a.Note), Key: chaintest.Key(1).Public()}
	l.heads = append(l.heads, Head{c.Size, c.Root, "the ledger"})
	return nil
}

// set changes how the ledger behaves.
func (l *fakeLedger) set(hold bool, delay func() error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hold, l.delay = hold, delay
}

// prove proves the anchor in a state that holds nothing else.
func (l *fakeLedger) prove(key []byte) (*proof.Entry, []proof.Step, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := &proof.Entry{Validators: testSet}
	var root abi.Hash
	if l.anchored.Size > 0 {
		value := l.anchored.Append(nil)
		root = proof.Leaf(proof.KeyHash(key), proof.ValueHash(value))
		e.State.Present, e.State.Value = true, value
	}
	e.Header = chain.Header{Chain: testChain, Protocol: chain.Protocol, Height: 1 + l.height, Time: 1, State: root, Validators: testSet.Hash(), NextValidators: testSet.Hash()}
	vote := chain.AppendVote(nil, testChain, e.Header.Hash(), nil, 0)
	e.Certificate.Signatures = []chain.Signature{{Validator: 1, Signature: ed25519.Sign(chaintest.Key(9).PrivateKey, vote)}}
	return e, nil, nil
}

// decision makes a record of its own for each n.
func decision(n int) *proof.Record {
	return &proof.Record{
		Now: int64(n), Trusted: true, Height: uint64(n), Caller: abi.Hash{byte(n)}, Domain: "default", Contract: "access", CodeHash: abi.Hash{7},
		Request: bytes.Repeat([]byte{byte(n), byte(n >> 8)}, 45), Permit: n%2 == 0, ReasonID: "rule",
	}
}

func mustOpen(t testing.TB, cfg Config, d disk.Disk) *Log {
	t.Helper()
	l, err := open(cfg, d)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func mustAppend(t testing.TB, l *Log, n int) uint64 {
	t.Helper()
	number, err := l.Append(context.Background(), decision(n))
	if err != nil {
		t.Fatal(err)
	}
	return number
}

func mustFlush(t testing.TB, l *Log) {
	t.Helper()
	if err := l.flush(); err != nil {
		t.Fatal(err)
	}
}

// elapse lets virtual time pass, and so has to stand in a synctest bubble, whose
// clock begins in 2000: no test waits for real time.
func elapse(d time.Duration) {
	if d > 0 && time.Now().Year() > 2001 {
		panic("BUG: a test waits for real time")
	}
	<-time.After(d)
}
