package ledger

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/storage"
)

// A chain whose quorum is gone for good goes on as another one. Its genesis has
// an Origin; its block 0 is the certified state of a block of the old chain,
// changed by nothing but what the genesis says, so that whoever holds the old
// state can make it, and everybody else can check it.

// ErrNoState comes from Init if the genesis goes on with the state of another
// chain, which the store does not hold.
var ErrNoState = errors.New("the chain began with the state of another one, which is not here")

// Origin is the head of a store as the origin of another chain, whose own state
// root is still to come, and the store's proof of it. The proof depends on the
// copy: nodes hold different quorums of signatures.
func Origin(old *storage.Store) (*chain.Origin, *chain.OriginProof, error) {
	v, err := old.HeadView()
	if err != nil {
		return nil, nil, err
	}
	defer v.Release()
	n, err := readSnapshot(old, v)
	if err != nil {
		return nil, nil, err
	}
	return &chain.Origin{Header: n.Header}, &chain.OriginProof{Certificate: n.Certificate, Steps: n.Steps}, nil
}

// Succeed completes the genesis of a chain that goes on with the state at the
// head of an old chain's store: its origin, ids for its validators, and for
// accounts that are there already what they have beside what g grants them. It
// depends on g and the store's head alone, not on who signed it in this copy.
// The store must have been verified.
func Succeed(old *storage.Store, g *chain.Genesis) error {
	origin, _, err := Origin(old)
	if err != nil {
		return err
	}
	v, err := old.HeadView()
	if err != nil {
		return err
	}
	defer v.Release()
	g.Origin = origin
	r := cold{v}
	if err := number(r, g.Validators); err != nil {
		return err
	}
	slices.SortFunc(g.Validators, func(a, b chain.Validator) int { return cmp.Compare(a.ID, b.ID) })
	for i := range g.Accounts {
		if err := keepStanding(r, &g.Accounts[i]); err != nil {
			return err
		}
	}
	update, err := genesisUpdate(v, g)
	if err != nil {
		return err
	}
	g.Origin.State = update.Root()
	return nil
}

// number gives the members of a set the ids that they have on the old chain,
// and those who have none the next ones.
func number(r reader, set chain.ValidatorSet) error {
	was, last, err := readSeats(r)
	for i := range set {
		id, ok := was.ID(set[i].Key)
		if !ok {
			last++
			id = last
		}
		set[i].ID = id
	}
	return err
}

// readSeats reads a chain's validators and the highest id that one ever had.
func readSeats(r reader) (set chain.ValidatorSet, last uint64, err error) {
	set, ok, err := load(r, chain.ValidatorsKey(), chain.ParseValidatorSet)
	if err != nil || !ok {
		return nil, 0, errors.Join(err, missing(ok, "validators"))
	}
	last, err = lastSeat(r, set)
	return set, last, err
}

// keepStanding adds to a grant the roles that its account has besides, and its
// quotas. The validator role goes with a seat and is not kept.
func keepStanding(r reader, a *chain.Grant) error {
	account, ok, err := accountWith(r, a.Key)
	if err != nil || !ok {
		return err
	}
	a.Roles |= account.Roles &^ abi.RoleValidator
	a.GasQuota, a.StorageQuota = account.GasQuota, account.StorageQuota
	return nil
}

// accountWith reads the account whose current key this is.
func accountWith(r reader, key []byte) (a chain.Account, ok bool, err error) {
	id, ok, err := accountOf(r, key)
	if err != nil || !ok {
		return a, false, err
	}
	return load(r, chain.AccountKey(id), chain.ParseAccount)
}

// Continue makes the ledger of the new chain with this encoded genesis, in
// cfg.Dir, out of the store of the old chain, whose head must be the block that
// the genesis names. An interruption leaves what another Continue replaces.
func Continue(ctx context.Context, cfg storage.Config, genesis []byte, old *storage.Store) error {
	g, err := chain.ParseGenesis(genesis)
	if err != nil {
		return err
	}
	if err := checkOrigin(old, g); err != nil {
		return err
	}
	imp, err := storage.NewImport(cfg, storage.Target{Height: g.Origin.Header.Height, Root: g.Origin.Header.State})
	if err != nil {
		return err
	}
	if err := copyState(ctx, old, imp); err != nil {
		return errors.Join(err, imp.Close())
	}
	if err := imp.Finish(ctx, storage.Final{Carry: true}); err != nil {
		return err
	}
	store, err := storage.Open(cfg)
	if err != nil {
		return err
	}
	_, err = Init(store, genesis)
	return errors.Join(err, store.Close())
}

// checkOrigin says whether a store ends with the block that a genesis names.
func checkOrigin(old *storage.Store, g *chain.Genesis) error {
	if g.Origin == nil {
		return fmt.Errorf("the genesis begins with nothing, and takes no state: %w", abi.CodeBadArgument)
	}
	head, _, err := Origin(old)
	if err != nil {
		return err
	}
	if is, want := &head.Header, &g.Origin.Header; *is != *want || old.Head().Root != want.State {
		return fmt.Errorf("block %d of chain %x is there, the genesis takes the state of block %d of chain %x: %w",
			is.Height, is.Chain[:4], want.Height, want.Chain[:4], abi.CodeBadProof)
	}
	return nil
}

func copyState(ctx context.Context, old *storage.Store, imp *storage.Import) error {
	v, err := old.HeadView()
	if err != nil {
		return err
	}
	defer v.Release()
	return copyChunk(ctx, v, imp, 0, 0)
}

// copyChunk copies the pairs whose key hash begins with these bits, in halves
// where they are too many at once.
func copyChunk(ctx context.Context, v *storage.View, imp *storage.Import, prefix uint64, depth uint8) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if imp.Done(prefix, depth) {
		return nil
	}
	c, err := v.Chunk(prefix, depth, maxChunkBytes)
	if errors.Is(err, abi.CodeTooLarge) && depth < proof.MaxChunkDepth {
		return errors.Join(copyChunk(ctx, v, imp, prefix, depth+1), copyChunk(ctx, v, imp, prefix|1<<(63-depth), depth+1))
	}
	if err != nil {
		return err
	}
	return imp.Put(prefix, depth, c)
}

// succession is the state of block 0 of a chain that goes on with another's.
func succession(old reader, g *chain.Genesis) (*state, error) {
	s := newState(old)
	for _, change := range []func(*state, *chain.Genesis) error{
		succeedParams, succeedSeats, succeedAccounts, checkSeats, dropWindow, dropProposals, dropLogs,
	} {
		if err := change(s, g); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// succeedParams takes the genesis's parameters where the old chain's governance
// could have made them.
func succeedParams(s *state, g *chain.Genesis) error {
	raw, ok, err := s.get(chain.ParamsKey())
	if err != nil || !ok {
		return errors.Join(err, missing(ok, "parameters"))
	}
	next := g.Params.Append(nil)
	if bytes.Equal(raw, next) {
		return nil
	}
	old, err := chain.ParseParams(raw)
	if err != nil {
		return &fault{err}
	}
	if err := validateChange(&old, &g.Params); err != nil {
		return fmt.Errorf("these parameters cannot follow those of the old chain: %w", err)
	}
	return s.setFree(chain.ParamsKey(), next)
}

// succeedSeats replaces the validators. An id is one validator for ever: the
// old chain's history names them by their ids.
func succeedSeats(s *state, g *chain.Genesis) error {
	was, last, err := readSeats(s)
	if err != nil {
		return err
	}
	highest := last
	for _, v := range g.Validators {
		if key, ok := was.Key(v.ID); v.ID <= last && (!ok || !bytes.Equal(key, v.Key)) {
			return fmt.Errorf("validator %d was another on the old chain: %w", v.ID, abi.CodeBadValidatorSet)
		}
		highest = max(highest, v.ID)
	}
	for _, v := range was {
		if _, stays := g.Validators.ID(v.Key); !stays {
			if err := dismiss(s, v.Key); err != nil {
				return err
			}
		}
	}
	return errors.Join(
		s.setFree(chain.ValidatorNumberKey(), cbor.AppendUint(nil, highest)),
		s.setFree(chain.ValidatorsKey(), g.Validators.Append(nil)))
}

// dismiss takes the validator role from the account of a key, if there is one.
func dismiss(s *state, key []byte) error {
	id, known, err := accountOf(s, key)
	if err != nil || !known {
		return err
	}
	a, ok, err := load(s, chain.AccountKey(id), chain.ParseAccount)
	if err != nil || !ok {
		return errors.Join(err, missing(ok, "account of a validator"))
	}
	a.Roles &^= abi.RoleValidator
	return s.setFree(chain.AccountKey(id), a.Append(nil))
}

// succeedAccounts makes the accounts of the grants, or sets their roles and
// quotas.
func succeedAccounts(s *state, g *chain.Genesis) error {
	for i := range g.Accounts {
		a := &g.Accounts[i]
		if err := succeedAccount(s, a); err != nil {
			return fmt.Errorf("account of key %x: %w", a.Key, err)
		}
	}
	return nil
}

func succeedAccount(s *state, a *chain.Grant) error {
	id, known, err := accountOf(s, a.Key)
	if err != nil {
		return err
	}
	if !known {
		return createAccount(s, a, 0)
	}
	account, ok, err := load(s, chain.AccountKey(id), chain.ParseAccount)
	switch {
	case err != nil || !ok:
		return errors.Join(err, missing(ok, "account of a key"))
	case account.Owner != nil:
		return abi.CodeNotPermitted // a device has no roles
	}
	account.Roles, account.GasQuota, account.StorageQuota = a.Roles, a.GasQuota, a.StorageQuota
	if a.X25519 != nil {
		account.X25519 = a.X25519
	}
	return s.setFree(chain.AccountKey(id), account.Append(nil))
}

// checkSeats refuses a genesis in which the validator role does not go with a
// seat.
func checkSeats(s *state, g *chain.Genesis) error {
	for i := range g.Accounts {
		a := &g.Accounts[i]
		if _, sits := g.Validators.ID(a.Key); sits != (a.Roles&abi.RoleValidator != 0) {
			return fmt.Errorf("account of key %x: the validator role goes with a seat: %w", a.Key, abi.CodeBadValidatorSet)
		}
	}
	for _, v := range g.Validators {
		a, ok, err := accountWith(s, v.Key)
		if err != nil {
			return err
		}
		if !ok || a.Roles&abi.RoleValidator == 0 {
			return fmt.Errorf("validator %d has no account with the role: %w", v.ID, abi.CodeBadValidatorSet)
		}
	}
	return nil
}

// dropWindow drops the running hashes of replay guards: transactions name their
// chain, so no old one can come again.
func dropWindow(s *state, _ *chain.Genesis) error {
	return eachKey(s, []byte{'w'}, s.deleteFree)
}

// dropLogs forgets the heads of decision logs: a log is named by its chain, so
// each gateway begins another. Proofs that one had two heads stay.
func dropLogs(s *state, _ *chain.Genesis) error {
	return errors.Join(
		eachKey(s, chain.AnchorPrefix(), s.deleteFree),
		eachKey(s, chain.AnchorsAtPrefix(), s.deleteFree),
		eachKey(s, chain.WitnessesPrefix(), s.deleteFree))
}

// dropProposals ends what was proposed and not carried out: who agreed did so
// on the old chain.
func dropProposals(s *state, g *chain.Genesis) error {
	return eachKey(s, chain.OpenProposalsPrefix(), func(key []byte) error {
		number := chain.OpenProposalNumber(key)
		p, ok, err := load(s, chain.ProposalKey(number), chain.ParseProposal)
		if err != nil || !ok {
			return errors.Join(err, missing(ok, "undecided proposal"))
		}
		p.Decided = g.Time
		return closeProposal(s, number, &p, chain.ProposalExpired)
	})
}

// eachKey hands the keys with a prefix to fn, which may change the state.
func eachKey(s *state, prefix []byte, fn func(key []byte) error) error {
	var keys [][]byte
	err := each(s, prefix, func(key, _ []byte) (bool, error) {
		keys = append(keys, bytes.Clone(key))
		return true, nil
	})
	for _, key := range keys {
		if err == nil {
			err = fn(key)
		}
	}
	return err
}
