package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/sealed"
)

// Bounds of what is sealed.
const (
	// sealQueue is how many observations wait to be sealed; beyond it new ones are
	// passed over, as a device that sends so much soon sends the next.
	sealQueue = 64
	// sealEvery is how often at most a device's observations of one kind are
	// kept: the ledger keeps 64 of a device, and telemetry by the second must
	// not push out where it was an hour ago.
	sealEvery = time.Minute
	// maxSealTimes is of how many devices and kinds the node remembers when that
	// was last.
	maxSealTimes = 4096
	// authoritiesFor is how long the list of authorities is used: all accounts
	// are read for it.
	authoritiesFor = 10 * time.Minute
)

// sealer keeps on the ledger what quarantined and stolen devices report, sealed
// for their owners and for authorities.
type sealer struct {
	chain       abi.Hash
	account     func(abi.Hash) (chain.Account, error)
	authorities func() ([]sealReader, error) // at most chain.MaxAuthorities
	submit      func(ctx context.Context, args []byte) error
	log         *slog.Logger
	queue       chan sealable

	passedOver atomic.Uint64

	// Owned by Run.
	last map[sealTurn]time.Time
	read time.Time // when list was read
	list []sealReader
}

// sealable is an observation of a device, and who owns that.
type sealable struct {
	owner abi.Hash
	abi.Observation
}

// sealTurn is whose turn comes again after sealEvery.
type sealTurn struct {
	device abi.Hash
	kind   abi.ObservationKind
}

// sealReader is an account and the key to which texts for it are sealed.
type sealReader struct {
	account abi.Hash
	key     []byte
}

// keep has an observation sealed, if the device's status says that it is to be. It
// never waits.
func (s *sealer) keep(d *chain.Device, o *abi.Observation) {
	if d.Status != abi.StatusQuarantined && d.Status != abi.StatusStolen {
		return
	}
	kept := sealable{d.Owner, *o}
	kept.Payload = bytes.Clone(o.Payload)
	select {
	case s.queue <- kept:
	default:
		s.passedOver.Add(1)
	}
}

// Run seals until ctx ends.
func (s *sealer) Run(ctx context.Context) error {
	for {
		select {
		case o := <-s.queue:
			if !s.due(sealTurn{o.Device, o.Kind}, time.Now()) {
				s.passedOver.Add(1)
				continue
			}
			if err := s.seal(ctx, &o); err != nil {
				s.passedOver.Add(1)
				s.log.Warn("what a stolen or quarantined device sent is not kept", "device", o.Device, "err", err)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// due says whether it is a device's turn, and counts it as taken.
func (s *sealer) due(turn sealTurn, now time.Time) bool {
	if now.Sub(s.last[turn]) < sealEvery {
		return false
	}
	if len(s.last) >= maxSealTimes {
		for t, at := range s.last {
			if now.Sub(at) >= sealEvery {
				delete(s.last, t)
			}
		}
		if len(s.last) >= maxSealTimes {
			return false
		}
	}
	s.last[turn] = now
	return true
}

func (s *sealer) seal(ctx context.Context, o *sealable) error {
	text, err := fitting(&o.Observation, sealed.MaxText)
	if err != nil {
		return err
	}
	if _, err := abi.ParseObservation(text); err != nil {
		return err
	}
	args := chain.Sealed{Device: o.Device, Evidence: sha256.Sum256(text)}
	owner, err := s.account(o.owner)
	if err != nil {
		return err
	}
	to, err := sealed.Key(&owner)
	if err != nil {
		return fmt.Errorf("its owner has no X25519 key: %w", err)
	}
	if args.Owner, err = sealed.Seal(to, s.chain, o.Device, text); err != nil {
		return err
	}
	for _, a := range s.readers() {
		b, err := sealed.Seal(a.key, s.chain, o.Device, text)
		if err != nil {
			return err
		}
		args.Authorities = append(args.Authorities, chain.SealedCopy{Account: a.account, Text: b})
	}
	return s.submit(ctx, args.Append(nil))
}

// readers are the authorities of a short while ago. Without them it is sealed for
// the owner alone.
func (s *sealer) readers() []sealReader {
	if now := time.Now(); s.read.IsZero() || now.Sub(s.read) >= authoritiesFor {
		list, err := s.authorities()
		if err != nil {
			s.log.Warn("the authorities are not known", "err", err)
			return s.list
		}
		s.list, s.read = list, now
	}
	return s.list
}

// fitting encodes an observation in at most so many bytes: with the first items of
// its payload, as many as fit.
func fitting(o *abi.Observation, most int) ([]byte, error) {
	whole := abi.AppendObservation(nil, o)
	if len(whole) <= most {
		return whole, nil
	}
	const heads = 16 // bytes that the payload's own head may take
	room := most - (len(whole) - len(o.Payload)) - heads
	r := cbor.NewReader(o.Payload)
	var items []byte
	n := 0
	for left := r.Array(); left > 0 && r.Err() == nil; left-- {
		item := r.Raw()
		if r.Err() != nil || len(items)+len(item) > room {
			break
		}
		items = append(items, item...)
		n++
	}
	if n == 0 {
		return nil, fmt.Errorf("not even the first item fits %d bytes: %w", most, abi.CodeTooLarge)
	}
	part := *o
	part.Payload = append(cbor.AppendArray(nil, n), items...)
	return abi.AppendObservation(nil, &part), nil
}

// openSealer makes the node's sealer.
func (n *node) openSealer() {
	n.sealer = &sealer{
		chain: n.ledger.ChainID(), log: n.log, queue: make(chan sealable, sealQueue), last: map[sealTurn]time.Time{},
		account: n.ledgerAccount, authorities: n.authorities,
		submit: func(ctx context.Context, args []byte) error {
			if err := n.isGateway("what stolen devices send"); err != nil {
				return err
			}
			_, err := n.verdicts.Put(ctx, chain.OpSealed, args)
			return err
		},
	}
}

// sealReport keeps what a device reported, if its status asks for that.
func (n *node) sealReport(o *abi.Observation) {
	if d, err := n.ledger.Device(o.Device); err == nil {
		ms, _ := n.clock()
		n.sealer.keep(&d, &abi.Observation{Kind: o.Kind, Device: o.Device, Time: ms, Payload: o.Payload})
	}
}

// ledgerAccount is an account as the ledger has it now.
func (n *node) ledgerAccount(id abi.Hash) (a chain.Account, err error) {
	key := chain.AccountKey(id)
	pairs, _, _, err := n.ledger.Scan(key, key, 1)
	if err != nil {
		return a, err
	}
	if len(pairs) == 0 {
		return a, abi.CodeUnknownAccount
	}
	return chain.ParseAccount(pairs[0][1])
}

// authorities are the first accounts with that role, by their ids, to which a text
// can be sealed.
func (n *node) authorities() (list []sealReader, err error) {
	prefix := chain.AccountKey(abi.Hash{})[:1]
	for start, more := prefix, true; more && len(list) < chain.MaxAuthorities; {
		var pairs [][2][]byte
		if pairs, more, _, err = n.ledger.Scan(prefix, start, 1000); err != nil {
			return nil, err
		}
		for _, p := range pairs {
			start = append(p[0][:len(p[0]):len(p[0])], 0)
			a, err := chain.ParseAccount(p[1])
			if err != nil {
				return nil, err
			}
			if a.Roles&abi.RoleAuthority == 0 || len(list) == chain.MaxAuthorities {
				continue
			}
			if key, err := sealed.Key(&a); err == nil {
				list = append(list, sealReader{abi.Hash(p[0][1:]), key})
			}
		}
	}
	return list, nil
}
