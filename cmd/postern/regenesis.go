package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/runtime/ledger"
	"github.com/seed79541315/postern/storage"
)

func regenesisCommand() *cli.Command {
	return &cli.Command{
		Name: "regenesis", ArgsUsage: "CARD ...",
		Usage: "make the genesis of a chain that goes on with the state of one whose quorum is gone for good",
		Description: `--home is the home of any node of the old chain, stopped, or a backup of one. It is
verified from its genesis on, and the state after its newest block becomes what
the new chain begins with: devices, policies, contracts and roles stay. The
nodes of the cards are the new chain's, and its only validators.

Whoever runs it on any copy of that block with the same cards and flags gets the
same genesis, byte for byte. Beside it, with .origin behind its name, stands the
proof for everybody who holds the old genesis that the state was certified: its
signatures may be those of another quorum on another node, and any will do.
Read "When the quorum is gone for good" in docs/operate.md first.

Example:

   postern regenesis --home /var/lib/postern --name plant-2 --out plant-2.cbor north.json east.json
   postern init --home /var/lib/plant-2 --genesis plant-2.cbor --from /var/lib/postern north.json east.json`,
		Flags: []cli.Flag{
			homeFlag, jsonFlag,
			&cli.StringFlag{Name: "name", Usage: "the new chain's `NAME` (required)"},
			&cli.StringFlag{Name: "out", Usage: "the `FILE` to write", Value: "genesis.cbor"},
			&cli.StringFlag{Name: "time", Usage: "when the new chain begins, `TIME` such as 2026-01-31T12:00:00Z, after the block (default: when the newest card was made)"},
			&cli.Uint64Flag{Name: "snapshot", Usage: "take the state of the home's snapshot at this `HEIGHT`, not of its newest block"},
			&cli.StringSliceFlag{Name: "set", Usage: "change a parameter of the chain, `NAME=VALUE`; may be given several times"},
		},
		Action: makeRegenesis,
	}
}

func makeRegenesis(c *cli.Context) error {
	if c.NArg() == 0 {
		return usagef("name the cards of the new chain's nodes; postern init --card makes them")
	}
	if err := require(c, "name"); err != nil {
		return err
	}
	cards, err := readCards(c.Args().Slice())
	if err != nil {
		return err
	}
	past, err := openPast(c.String("home"), c.Uint64("snapshot"))
	if err != nil {
		return err
	}
	defer past.close()
	if err := past.verify(c); err != nil {
		return err
	}
	g, err := past.successor(c, cards)
	if err != nil {
		return err
	}
	raw := g.Append(nil)
	if _, err := chain.ParseGenesis(raw); err != nil {
		return err
	}
	from, evidence, err := past.origin(g.Origin)
	if err != nil {
		return err
	}
	if err := writeSame(c.String("out"), raw); err != nil {
		return err
	}
	if err := writeOrigin(c.String("out")+originSuffix, evidence, past.raw, g.Origin); err != nil {
		return err
	}
	return showGenesis(c, g, from, cards)
}

// originSuffix is behind a genesis's file name in that of its origin's proof.
const originSuffix = ".origin"

// writeOrigin writes the proof of an origin, or leaves one that is there and
// proves it as well.
func writeOrigin(file string, evidence *chain.OriginProof, old []byte, o *chain.Origin) error {
	err := writeNew(file, evidence.Append(nil), 0o644)
	if !errors.Is(err, os.ErrExist) {
		return err
	}
	if _, _, err := readOrigin(file, old, o); err != nil {
		return fmt.Errorf("%s is there already and does not prove it: remove it, or name another file with --out: %w", file, err)
	}
	return nil
}

// readOrigin reads the proof of an origin and checks it with the old genesis. It
// gives also the validators after the old chain's block.
func readOrigin(file string, old []byte, o *chain.Origin) (*chain.OriginProof, chain.ValidatorSet, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	p, err := chain.ParseOriginProof(raw)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	_, next, err := proof.VerifyOrigin(old, o, &p)
	return &p, next, err
}

// past is the state of an old chain at one of its blocks.
type past struct {
	dir     string
	lock    *os.File
	raw     []byte // the old genesis
	genesis *chain.Genesis
	store   *storage.Store
}

// openPast opens what a stopped home or a backup holds of its newest block, if
// height is 0 or that block's, or else the snapshot of the height.
func openPast(dir string, height uint64) (_ *past, err error) {
	p := &past{dir: dir}
	h := home(dir)
	if p.lock, err = h.lockExisting(); err != nil {
		return nil, err
	}
	if p.raw, p.genesis, err = h.genesis(); err == nil {
		err = p.open(h, height)
	}
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *past) open(h home, height uint64) (err error) {
	if !fileExists(h.path("data")) {
		return fmt.Errorf("%s holds no block", h)
	}
	quiet := newLogger("error")
	if p.store, err = storage.Open(storage.Config{Dir: h.path("data"), Logger: quiet}); err != nil {
		return fmt.Errorf("the database of %s: %w", h, err)
	}
	head := p.store.Head()
	if height == 0 || head.Height == height {
		return nil
	}
	if err = p.store.Close(); err != nil {
		return err
	}
	p.store = nil
	kept := storage.SnapshotPath(h.path("snapshots"), height)
	if !fileExists(kept) {
		return fmt.Errorf("%s ends with block %d and has no snapshot of block %d; take a home or a backup that has", h, head.Height, height)
	}
	p.store, err = storage.OpenCheckpoint(storage.Config{Dir: kept, Logger: quiet})
	return err
}

func (p *past) close() {
	if p.store != nil {
		p.store.Close()
	}
	p.lock.Close()
}

// verify checks all that is there from the old genesis on.
func (p *past) verify(c *cli.Context) error {
	if head := p.store.Head(); head.Empty || head.Height == 0 {
		return fmt.Errorf("%s holds no certified block", p.dir)
	}
	out := printer(c)
	_, err := p.store.Verify(c.Context, func(done, total int) { out.progressf("values: %d of %d buckets", done, total) })
	if err == nil {
		_, err = verifyBlocks(c.Context, p.store, chain.ChainID(p.raw), p.genesis.Validators)
	}
	if err != nil {
		return fmt.Errorf("the database of %s: %w", p.dir, err)
	}
	return nil
}

// successor is the genesis of the chain of the cards that goes on from here.
func (p *past) successor(c *cli.Context, cards []*card) (*chain.Genesis, error) {
	params, last, err := p.standing()
	if err != nil {
		return nil, err
	}
	for _, arg := range c.StringSlice("set") {
		if err := setParam(&params, arg); err != nil {
			return nil, err
		}
	}
	at := newest(cards)
	if soon := last.Truncate(time.Second).Add(time.Second); at.Before(soon) {
		at = soon
	}
	if text := c.String("time"); text != "" {
		if at, err = time.Parse(time.RFC3339, text); err != nil || !at.After(last) {
			return nil, usagef("--time %q: write a time after %s as 2026-01-31T12:00:00Z", text, last.UTC().Format(time.RFC3339))
		}
	}
	g, err := genesisOf(c.String("name"), params, at, cards)
	if err != nil {
		return nil, err
	}
	return g, ledger.Succeed(p.store, g)
}

// origin proves, by this copy of the old chain, the origin of a new one.
func (p *past) origin(o *chain.Origin) (*originOutput, *chain.OriginProof, error) {
	_, evidence, err := ledger.Origin(p.store)
	if err != nil {
		return nil, nil, err
	}
	if _, _, err := proof.VerifyOrigin(p.raw, o, evidence); err != nil {
		return nil, nil, err
	}
	return originOf(o, evidence), evidence, nil
}

// standing is the old chain's parameters, and the time of its block.
func (p *past) standing() (params chain.Params, at time.Time, err error) {
	v, err := p.store.HeadView()
	if err != nil {
		return params, at, err
	}
	defer v.Release()
	raw, _, err := v.Get(chain.ParamsKey())
	if err == nil {
		params, err = chain.ParseParams(raw)
	}
	if err != nil {
		return params, at, err
	}
	block, _, _, err := p.store.Block(v.Height())
	if err != nil {
		return params, at, err
	}
	k, err := chain.ParseBlock(block)
	if err != nil {
		return params, at, err
	}
	return params, time.UnixMilli(k.Header.Time), nil
}

// takeState makes the database of a home of the chain with this genesis out of
// a home or a backup of the chain that it goes on from.
func takeState(ctx context.Context, h home, raw []byte, genesis *chain.Genesis, from string) error {
	if genesis.Origin == nil {
		return usagef("--from: this chain goes on from no other one; leave it out")
	}
	past, err := openPast(from, genesis.Origin.Header.Height)
	if err != nil {
		return err
	}
	defer past.close()
	if _, _, err := past.origin(genesis.Origin); err != nil {
		return fmt.Errorf("--from %s: %w", from, err)
	}
	if err := ledger.Continue(ctx, storage.Config{Dir: h.path("data"), Logger: newLogger("error")}, raw, past.store); err != nil {
		return fmt.Errorf("taking the state of %s: %w", from, err)
	}
	return nil
}

// noStateError tells what to do where a node lacks the state that its chain
// began with.
func noStateError(h home, o *chain.Origin) error {
	return fmt.Errorf("%s lacks the state that this chain began with, that of block %d of chain %x: make the home anew with "+
		"postern init --genesis FILE --from DIR, where DIR is a home or a backup of that chain; or let it join by a snapshot, "+
		"with join = \"auto\" and peers, once another node has one", h, o.Header.Height, o.Header.Chain)
}

// originOutput is where a chain comes from.
type originOutput struct {
	Chain   hexBytes       `json:"chain"` // the old one
	Height  uint64         `json:"height"`
	Block   hexBytes       `json:"block"`
	Time    time.Time      `json:"time"`
	State   hexBytes       `json:"state_root"`
	Changes int            `json:"validator_changes"`
	Signers []uint64       `json:"signers"`
	Removed []removedEntry `json:"removed,omitempty"`
}

type removedEntry struct {
	ID  uint64   `json:"id"`
	Key hexBytes `json:"key"`
}

func originOf(o *chain.Origin, p *chain.OriginProof) *originOutput {
	block := o.Header.Hash()
	v := &originOutput{Chain: o.Header.Chain[:], Height: o.Header.Height, Block: block[:], Time: time.UnixMilli(o.Header.Time).UTC(),
		State: o.Header.State[:], Changes: len(p.Steps), Signers: []uint64{}}
	for _, s := range p.Certificate.Signatures {
		v.Signers = append(v.Signers, s.Validator)
	}
	return v
}

func (v *originOutput) text() string {
	return fmt.Sprintf("goes on from block %d  %s\nof chain %s\nsigned by validators %v at %s", v.Height, v.Block, v.Chain, v.Signers, v.Time.Format(time.RFC3339))
}

func verifyOriginCommand() *cli.Command {
	return &cli.Command{
		Name: "origin", ArgsUsage: "OLD NEW [PROOF]",
		Usage: "check with the old chain's genesis that a new one begins with a state that the old one certified",
		Description: `OLD and NEW are genesis files or trust bundles, PROOF what postern regenesis wrote
beside the new genesis (default: NEW with .origin behind it). It checks without a
node that the old chain's validators, over all their changes, signed the block whose
state the new chain took, and shows who is no validator any more, who is, and which
accounts the new genesis gives roles. That block 0 is that state with these
changes and no others is what postern init --from checks, for who has the state.

Example:

   postern verify origin old-bundle.json genesis.cbor
   postern verify origin old-bundle.json new-bundle.json genesis.cbor.origin`,
		Flags:  []cli.Flag{jsonFlag},
		Action: verifyOrigin,
	}
}

type verifiedOrigin struct {
	Chain      hexBytes       `json:"chain"`
	Name       string         `json:"name"`
	Time       time.Time      `json:"time"`
	From       *originOutput  `json:"from"`
	Validators []verifiedSeat `json:"validators"`
	Accounts   []verifiedRole `json:"accounts"`
}

type verifiedSeat struct {
	ID   uint64   `json:"id"`
	Key  hexBytes `json:"key"`
	Kept bool     `json:"kept"` // it voted on the old chain
}

type verifiedRole struct {
	Key   hexBytes `json:"key"`
	Roles []string `json:"roles"`
}

func verifyOrigin(c *cli.Context) error {
	if c.NArg() < 2 {
		return usagef("name the genesis of the old chain and that of the new one")
	}
	file := c.Args().Get(1)
	old, _, err := readGenesis(c.Args().Get(0))
	if err != nil {
		return err
	}
	raw, _, err := readGenesis(file)
	if err != nil {
		return err
	}
	g, err := chain.ParseGenesis(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if g.Origin == nil {
		return fmt.Errorf("chain %s goes on from no other one: %w", g.Name, abi.CodeBadProof)
	}
	by := c.Args().Get(2)
	if by == "" {
		by = file + originSuffix
	}
	p, was, err := readOrigin(by, old, g.Origin)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w; name the proof that postern regenesis wrote beside the genesis", err)
	}
	if err != nil {
		return err
	}
	v := originVerified(g, chain.ChainID(raw), originOf(g.Origin, p), was)
	return printer(c).show(v, "%s", v.text())
}

func originVerified(g *chain.Genesis, id abi.Hash, from *originOutput, was chain.ValidatorSet) *verifiedOrigin {
	v := &verifiedOrigin{Chain: id[:], Name: g.Name, Time: time.UnixMilli(g.Time).UTC(), From: from}
	for _, w := range was {
		if key, stays := g.Validators.Key(w.ID); !stays || !bytes.Equal(key, w.Key) {
			v.From.Removed = append(v.From.Removed, removedEntry{w.ID, w.Key})
		}
	}
	for _, n := range g.Validators {
		_, kept := was.ID(n.Key)
		v.Validators = append(v.Validators, verifiedSeat{n.ID, n.Key, kept})
	}
	for i := range g.Accounts {
		v.Accounts = append(v.Accounts, verifiedRole{g.Accounts[i].Key, g.Accounts[i].Roles.Names()})
	}
	return v
}

func (v *verifiedOrigin) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "good: chain %s %s\n%s", v.Name, v.Chain, v.From.text())
	for _, r := range v.From.Removed {
		fmt.Fprintf(&b, "\nremoved  validator %d  %s", r.ID, r.Key)
	}
	for _, s := range v.Validators {
		word := "new"
		if s.Kept {
			word = "kept"
		}
		fmt.Fprintf(&b, "\n%-7s  validator %d  %s", word, s.ID, s.Key)
	}
	for _, a := range v.Accounts {
		fmt.Fprintf(&b, "\nroles    %s  %s", a.Key, strings.Join(a.Roles, ", "))
	}
	return b.String()
}
