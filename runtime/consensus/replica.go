package consensus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hyperledger-labs/SmartBFT/pkg/consensus"
	"github.com/hyperledger-labs/SmartBFT/pkg/types"
	"github.com/hyperledger-labs/SmartBFT/smartbftprotos"
	"google.golang.org/protobuf/proto"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// replica is what SmartBFT calls, for the length of one Run: its Assembler,
// Verifier, Signer, Application, Synchronizer, Comm and RequestInspector.
//
// SmartBFT knows no errors here. What must end Run is recorded with fail, and
// then the goroutine ends (runtime.Goexit runs SmartBFT's deferred functions),
// so that it cannot go on with a block that was not committed.
type replica struct {
	cfg     *Config
	log     *slog.Logger
	chain   abi.Hash
	ctx     context.Context // of the Run; SmartBFT's callbacks have none
	fail    func(error)
	queue   *queue
	journal *journal
	wake    chan<- struct{}
	told    *atomic.Uint64 // the engine's
	bft     *consensus.Consensus
	tickers [2]*time.Ticker
	ticks   chan time.Time // of the second ticker, and those that are made up
	asked   chan struct{}  // capacity one; SmartBFT wants to know the others' views

	left chan struct{} // capacity one; this validator has left a view

	signing sync.Mutex // guards signed
	signed  *signedFile

	recording sync.Mutex // held while a record is written
	recovery  recovery   // owned by SmartBFT's start, then by whoever changes the set

	mu        sync.Mutex // guards what follows
	promises  promises
	entered   uint64 // the last new view that was recorded
	flight    flight
	complaint map[complaint]time.Time     // when each was last sent
	states    map[uint64]types.ViewAndSeq // what the others said of themselves when asked last
	spoke     map[uint64]uint64           // the highest block that each spoke of
	verified  judged                      // the last proposal that VerifyProposal accepted
	members   []uint64                    // ids that SmartBFT was last told of
	sequence  uint64                      // verification sequence
	nextBatch time.Time                   // when the pump may admit again
	asking    []byte                      // the metadata of the proposal that SmartBFT asked for last
	askedAt   time.Time                   // when
	sent      sentMessage                 // the last message sent
	outbox    outbox
	ahead     map[ahead]*smartbftprotos.Message
	unsaved   chan struct{} // closed when the last vote is recorded; nil if it is
}

// sentMessage saves encoding a broadcast again for every receiver.
type sentMessage struct {
	message *smartbftprotos.Message
	encoded []byte
}

// judged is a proposal and the pool ids of its transactions.
type judged struct {
	raw types.Proposal
	ids []abi.Hash
}

// is compares rather than hash 256 KiB.
func (j *judged) is(p *types.Proposal) bool {
	return sameProposal(&j.raw, p)
}

func sameProposal(a, b *types.Proposal) bool {
	return a.VerificationSequence == b.VerificationSequence && bytes.Equal(a.Header, b.Header) &&
		bytes.Equal(a.Metadata, b.Metadata) && bytes.Equal(a.Payload, b.Payload)
}

// end records why the engine must stop, and ends the calling goroutine.
func (r *replica) end(err error) {
	r.fail(err)
	runtime.Goexit()
}

// AssembleProposal builds the next block of what the pool holds. It cannot
// decline: without a trusted clock it returns a proposal that its own check
// refuses, so that the others choose another leader.
func (r *replica) AssembleProposal(metadata []byte, requests [][]byte) types.Proposal {
	r.pause(metadata)
	if p, ok := r.proposedAlready(metadata); ok {
		return p
	}
	now, trusted := r.cfg.Clock()
	if !trusted {
		r.log.Warn("cannot lead without a trusted clock")
		return types.Proposal{Metadata: metadata}
	}
	r.mu.Lock()
	r.nextBatch = time.Now().Add(r.cfg.BatchInterval)
	sequence := r.sequence
	r.mu.Unlock()
	raws := r.queue.batch(requests)
	block, err := r.cfg.App.Propose(r.ctx, now, raws)
	if errors.Is(err, abi.CodeNotFound) {
		r.log.Warn("dropped transactions that cannot stand in a block", "count", len(raws), "err", err)
		r.discard(requests, raws)
		return types.Proposal{Metadata: metadata}
	}
	if err == nil && len(block.Txs) == 0 {
		err = errors.New("it is empty")
	}
	if err != nil {
		r.end(fmt.Errorf("proposing a block: %w", err))
	}
	return newProposal(block, metadata, sequence)
}

// proposalPause is between two proposals of this leader for the same height of
// the same view.
const proposalPause = 300 * time.Millisecond

// pause keeps a leader whose proposals come to nothing, since its clock is
// lost, its view left or its transactions fit no block, from making them
// without end: after each SmartBFT syncs and begins again at once.
func (r *replica) pause(metadata []byte) {
	r.mu.Lock()
	wait := time.Duration(0)
	if bytes.Equal(metadata, r.asking) {
		wait = time.Until(r.askedAt.Add(proposalPause))
	}
	r.asking, r.askedAt = metadata, time.Now().Add(max(wait, 0))
	r.mu.Unlock()
	if wait <= 0 {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.ctx.Done():
	}
}

// proposedAlready returns this leader's proposal for the same height of the
// same view: SmartBFT asks again when a sync has restarted the view, and a
// second proposal would be refused by all who hold the first.
func (r *replica) proposedAlready(metadata []byte) (types.Proposal, bool) {
	md, err := parseMetadata(metadata)
	if err != nil {
		r.end(fmt.Errorf("proposing a block: %w", err))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	a := &r.promises.accepted
	return a.raw, a.height > 0 && a.height == md.LatestSequence && a.view == md.ViewId
}

// discard drops what no block can hold from the queue and the pool, or it
// would be proposed for ever.
func (r *replica) discard(requests, raws [][]byte) {
	bad := make(map[string]bool, len(raws))
	for _, raw := range raws {
		bad[string(raw)] = true
	}
	r.unpool(r.queue.prune(func(raw []byte) bool { return bad[string(raw)] }))
	for _, request := range requests {
		id, _ := splitPoolRequest(request)
		r.remove(id)
	}
}

// VerifyProposal decides whether to vote for a leader's proposal.
func (r *replica) VerifyProposal(raw types.Proposal) ([]types.RequestInfo, error) {
	p, ids, err := r.judge(raw)
	leader := r.bft.GetLeaderID()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		err = r.promises.allow(p, &raw) // a view may have been left meanwhile
	}
	if err != nil {
		if r.ctx.Err() == nil {
			r.log.Warn("refused a proposal", "leader", leader, "err", err)
		}
		return nil, err
	}
	r.verified = judged{raw, ids}
	r.promises.accepted = accepted{p.view, p.height, p.hash, raw}
	return requestInfos(ids), nil
}

// judge parses a proposal and checks that it is acceptable. It returns the
// pool ids of its transactions as well.
func (r *replica) judge(raw types.Proposal) (*proposal, []abi.Hash, error) {
	p, err := parseProposal(raw)
	if err != nil {
		return nil, nil, err
	}
	r.mu.Lock()
	err = r.promises.allow(p, &raw)
	r.mu.Unlock()
	if err == nil {
		err = r.checkPlace(p)
	}
	if err == nil {
		err = r.checkTime(p.block.Header.Time)
	}
	if err != nil {
		return nil, nil, err
	}
	ids, err := blockIDs(p)
	if err != nil {
		return nil, nil, err
	}
	if err := r.cfg.App.Verify(r.ctx, p.block); err != nil {
		return nil, nil, fmt.Errorf("block %d: %w", p.height, err)
	}
	return p, ids, nil
}

// checkPlace checks that p follows our head.
func (r *replica) checkPlace(p *proposal) error {
	head := r.cfg.App.Head()
	h := &p.block.Header
	switch {
	case h.Chain != r.chain:
		return abi.CodeWrongChain
	case h.Height != head.Height+1:
		return fmt.Errorf("block of height %d follows %d: %w", h.Height, head.Height, abi.CodeMalformed)
	case h.Parent != head.Hash():
		return fmt.Errorf("block %d has another parent: %w", h.Height, abi.CodeMalformed)
	case len(p.block.Txs) == 0:
		return fmt.Errorf("block %d is empty: %w", h.Height, abi.CodeMalformed)
	}
	return nil
}

// checkTime compares with this node's own clock. It stands here alone: blocks
// that a quorum agreed on are executed at any later time.
func (r *replica) checkTime(ms int64) error {
	now, trusted := r.cfg.Clock()
	if !trusted {
		return fmt.Errorf("cannot vote: %w", abi.CodeClockUntrusted)
	}
	if ms < now-maxClockSkew || ms > now+maxClockSkew {
		return fmt.Errorf("block's time is %d ms from this node's clock: %w", ms-now, abi.CodeBadArgument)
	}
	return nil
}

func requestInfos(ids []abi.Hash) []types.RequestInfo {
	infos := make([]types.RequestInfo, len(ids))
	for i, id := range ids {
		infos[i] = requestInfo(id)
	}
	return infos
}

func blockIDs(p *proposal) ([]abi.Hash, error) {
	ids := make([]abi.Hash, 0, len(p.block.Txs))
	for _, raw := range p.block.Txs {
		tx, err := chain.ParseTx(raw)
		if err != nil {
			return nil, err
		}
		ids = append(ids, poolID(tx, p.height))
	}
	return ids, nil
}

// VerifyRequest checks a transaction.
func (r *replica) VerifyRequest(request []byte) (types.RequestInfo, error) {
	id, raw := splitPoolRequest(request)
	if _, _, err := r.cfg.App.CheckRelayed(raw); err != nil {
		return types.RequestInfo{}, err
	}
	return requestInfo(id), nil
}

// VerifyConsenterSig checks a validator's vote for a proposal. Votes carry no
// auxiliary data.
func (r *replica) VerifyConsenterSig(signature types.Signature, raw types.Proposal) ([]byte, error) {
	p, err := parseProposal(raw)
	if err != nil {
		return nil, err
	}
	return nil, r.verify(signature, p.vote())
}

// VerifySignature checks a validator's signature of view data.
func (r *replica) VerifySignature(signature types.Signature) error {
	return r.verify(signature, appendViewData(nil, r.chain, signature.Msg))
}

func (r *replica) verify(signature types.Signature, message []byte) error {
	key, ok := r.cfg.App.ValidatorSet().Key(signature.ID)
	if !ok || !chain.VerifySignature(key, message, signature.Value) {
		return fmt.Errorf("signature of validator %d: %w", signature.ID, abi.CodeBadSignature)
	}
	return nil
}

// VerificationSequence counts the changes of the validator set. SmartBFT asks
// for it first between its two readings of the log.
func (r *replica) VerificationSequence() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.recovery.reveal()
	return r.sequence
}

// RequestsFromProposal names the requests of a decided proposal.
func (r *replica) RequestsFromProposal(raw types.Proposal) []types.RequestInfo {
	p, err := parseProposal(raw)
	if err != nil {
		return nil
	}
	ids, err := blockIDs(p)
	if err != nil {
		return nil
	}
	return requestInfos(ids)
}

// AuxiliaryData is always empty.
func (r *replica) AuxiliaryData([]byte) []byte { return nil }

// RequestID names a request in the pool.
func (r *replica) RequestID(request []byte) types.RequestInfo {
	id, _ := splitPoolRequest(request)
	return requestInfo(id)
}

// Sign signs view data.
func (r *replica) Sign(data []byte) []byte {
	sig, err := r.cfg.Key.Sign(appendViewData(nil, r.chain, data))
	if err != nil {
		r.end(fmt.Errorf("signing a view change: %w", err))
	}
	return sig
}

// SignProposal votes for a proposal. In a change of view, where SmartBFT knows
// of no prepares, it is called with one of SmartBFT's locks held, so a failure
// must not end the goroutine: the vote is then empty, which nobody counts, and
// the write-ahead log takes no more records.
func (r *replica) SignProposal(raw types.Proposal, prepares []byte) *types.Signature {
	sig := &types.Signature{ID: r.cfg.ID}
	inFlight := len(prepares) == 0 && len(r.Nodes()) > 1
	if inFlight {
		defer r.hurry()
	}
	if !inFlight {
		r.beginVote(raw)
	}
	if r.ctx.Err() != nil {
		return sig
	}
	value, err := r.vote(raw, inFlight)
	if err != nil {
		r.fail(fmt.Errorf("voting: %w", err))
		return sig
	}
	sig.Value = value
	return sig
}

// beginVote keeps a sync from ending before the vote is recorded: at its end
// SmartBFT forgets the proposal if the ledger has its height, and does not
// survive a vote for a proposal that it has forgotten. If the ledger has it by
// now, there is nothing to vote for, and the view's goroutine ends.
func (r *replica) beginVote(raw types.Proposal) {
	p, err := parseProposal(raw)
	if err != nil {
		r.end(fmt.Errorf("voting: %w", err))
	}
	saved := make(chan struct{})
	r.mu.Lock()
	r.unsaved = saved
	r.mu.Unlock()
	if p.height <= r.cfg.App.Head().Height {
		r.voteSaved()
		r.log.Debug("too late for a vote", "height", p.height)
		runtime.Goexit()
	}
}

// voteSaved lets a sync end that waits for the vote.
func (r *replica) voteSaved() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.unsaved != nil {
		close(r.unsaved)
		r.unsaved = nil
	}
}

// awaitVote waits until the vote that is being given is recorded, or refused.
func (r *replica) awaitVote() {
	r.mu.Lock()
	saved := r.unsaved
	r.mu.Unlock()
	if saved != nil {
		<-saved
	}
}

// vote signs a proposal that this node has executed: one that VerifyProposal
// has not seen comes from the write-ahead log or from a change of view, where
// a quorum has prepared it.
func (r *replica) vote(raw types.Proposal, inFlight bool) ([]byte, error) {
	p, err := parseProposal(raw)
	if err != nil {
		return nil, err
	}
	r.signing.Lock()
	defer r.signing.Unlock()
	if _, known := r.knownIDs(raw); !known {
		if err := r.cfg.App.Verify(r.ctx, p.block); err != nil {
			return nil, fmt.Errorf("block %d, which others prepared: %w", p.height, err)
		}
	}
	if p.height < r.signed.height {
		return nil, fmt.Errorf("block %d is below the last signed height %d", p.height, r.signed.height)
	}
	if err := r.promise(p, inFlight); err != nil {
		return nil, err
	}
	if err := r.signed.raise(p.height); err != nil {
		return nil, fmt.Errorf("last signed height: %w", err)
	}
	value, err := r.cfg.Key.Sign(p.vote())
	if err == nil && inFlight {
		err = r.recordInFlight(p, &raw, value)
	}
	return value, err
}

// promise notes a vote that is about to be given.
func (r *replica) promise(p *proposal, inFlight bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.promises.allowVote(p); err != nil {
		return err
	}
	r.promises.voted = accepted{view: p.view, height: p.height, block: p.hash}
	r.promises.bound = inFlight
	if inFlight {
		r.flight = flight{p.view, p.height}
	}
	return nil
}

// knownIDs returns the pool ids of a proposal's transactions if it is the one
// that VerifyProposal accepted last.
func (r *replica) knownIDs(raw types.Proposal) ([]abi.Hash, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.verified.ids, r.verified.is(&raw)
}

// Deliver commits a decided block: durable before it returns, or not at all.
func (r *replica) Deliver(raw types.Proposal, votes []types.Signature) types.Reconfig {
	p, err := parseProposal(raw)
	if err != nil {
		r.end(fmt.Errorf("decided block: %w", err))
	}
	if err := r.commit(p, votes); err != nil {
		r.end(fmt.Errorf("committing block %d: %w", p.height, err))
	}
	r.settle(p, raw)
	change := r.changed()
	return types.Reconfig{InLatestDecision: change != nil, CurrentNodes: change, CurrentConfig: smartConfig(r.cfg.ID)}
}

func (r *replica) commit(p *proposal, votes []types.Signature) error {
	head := r.cfg.App.Head()
	if p.height <= head.Height {
		r.log.Debug("block is there already", "height", p.height)
		return nil
	}
	if p.height > head.Height+1 {
		return fmt.Errorf("the ledger is at height %d: blocks are missing", head.Height)
	}
	c := p.certificate(votes)
	if n, q := len(c.Signatures), r.cfg.App.ValidatorSet().Quorum(); n < q {
		return fmt.Errorf("%d votes, %d are needed", n, q)
	}
	// A commit that has begun is finished, even when the node is stopping.
	return r.cfg.App.Commit(context.WithoutCancel(r.ctx), p.block, c)
}

// settle clears the queue and the pool of what a committed block makes
// pointless, and lets the next requests in. SmartBFT itself removes the
// block's own requests if it knows them: not after recovery, and not if the
// block was in flight while views changed.
func (r *replica) settle(p *proposal, raw types.Proposal) {
	ids, known := r.knownIDs(raw)
	if !known {
		var err error
		if ids, err = blockIDs(p); err != nil {
			r.end(fmt.Errorf("committed block %d: %w", p.height, err))
		}
	}
	r.unpool(r.queue.settle(ids, p.block.Header.Time))
	r.mu.Lock()
	if r.cfg.App.Head().Height == p.height {
		r.sequence = sequenceAfter(&p.block.Header, p.sequence)
	}
	inFlight := r.flight.height == p.height
	r.mu.Unlock()
	if !known || inFlight {
		for _, id := range ids {
			r.remove(id)
		}
	}
	poke(r.wake)
}

func (r *replica) unpool(requests []*request) {
	for _, q := range requests {
		r.remove(q.id)
	}
}

// remove takes a request out of SmartBFT's pool. It reports one that is not
// there, which is what was wanted.
func (r *replica) remove(id abi.Hash) { _ = r.bft.Pool.RemoveRequest(requestInfo(id)) }

// changed returns the validators' ids if they are others than SmartBFT knows,
// and notes them. It ends Run if this node is no longer among them, or under
// another key.
func (r *replica) changed() []uint64 {
	set := r.cfg.App.ValidatorSet()
	ids := members(set)
	if err := r.cfg.member(set); err != nil {
		r.fail(err)
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.Equal(ids, r.members) {
		return nil
	}
	r.members = ids
	r.recovery.forget()
	for _, t := range r.tickers {
		t.Reset(tickPeriod(len(ids)))
	}
	return ids
}

func members(set chain.ValidatorSet) []uint64 {
	ids := make([]uint64, len(set))
	for i, v := range set {
		ids[i] = v.ID
	}
	return ids
}

// Sync brings the ledger up to date and says where it stands.
func (r *replica) Sync() types.SyncResponse {
	before := r.cfg.App.Head().Height
	if r.cfg.Syncer != nil {
		if err := r.cfg.Syncer.Sync(r.ctx); err != nil {
			r.log.Warn("sync failed", "err", err)
		}
	}
	latest, sequence, err := lastDecision(r.cfg.App)
	if err != nil {
		r.end(err)
	}
	r.mu.Lock()
	r.sequence = sequence
	r.mu.Unlock()
	r.awaitVote()
	if r.cfg.App.Head().Height > before {
		r.unpool(r.queue.prune(func(raw []byte) bool { _, _, err := r.cfg.App.CheckRelayed(raw); return err != nil }))
		poke(r.wake)
	}
	change := r.changed()
	return types.SyncResponse{Latest: latest, Reconfig: types.ReconfigSync{
		InReplicatedDecisions: change != nil, CurrentNodes: change, CurrentConfig: smartConfig(r.cfg.ID)}}
}

// lastDecision reads the head's block as SmartBFT's decision, empty at height
// 0, and the verification sequence after it.
func lastDecision(app App) (types.Decision, uint64, error) {
	height := app.Head().Height
	if height == 0 {
		return types.Decision{}, 0, nil
	}
	rawBlock, rawCertificate, _, err := app.Block(height)
	if err != nil {
		return types.Decision{}, 0, fmt.Errorf("reading block %d: %w", height, err)
	}
	block, err := chain.ParseBlock(rawBlock)
	if err != nil {
		return types.Decision{}, 0, fmt.Errorf("block %d: %w", height, err)
	}
	certificate, err := chain.ParseCertificate(rawCertificate)
	if err != nil {
		return types.Decision{}, 0, fmt.Errorf("certificate of block %d: %w", height, err)
	}
	return decision(block, &certificate), sequenceAfter(&block.Header, certificate.Sequence), nil
}

// Nodes are the validators' ids.
func (r *replica) Nodes() []uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.members)
}

// SendConsensus sends a message of the engine.
func (r *replica) SendConsensus(to uint64, m *smartbftprotos.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.echoes(to, m, time.Now()) {
		return
	}
	if m.GetStateTransferRequest() != nil {
		poke(r.asked)
	}
	if r.flight.is(m) {
		r.outbox.hold(m, time.Now())
		poke(r.wake)
		return
	}
	if r.sent.message != m && r.outbox.note(m, time.Now()) {
		poke(r.wake)
	}
	r.send(to, m)
}

// send needs mu, so that messages keep their order.
func (r *replica) send(to uint64, m *smartbftprotos.Message) {
	if r.sent.message != m {
		b, err := proto.Marshal(m)
		if err != nil {
			r.fail(fmt.Errorf("encoding a message: %w", err))
			return
		}
		r.sent = sentMessage{m, b}
	}
	if r.cfg.Transport != nil {
		r.cfg.Transport.Send(to, r.sent.encoded)
	}
}

// repeat broadcasts what was held back or is due again, and says when to be
// called next.
func (r *replica) repeat() (wait time.Duration) {
	head := r.cfg.App.Head().Height
	r.mu.Lock()
	defer r.mu.Unlock()
	held, wait := r.outbox.release(time.Now())
	if held != nil {
		r.broadcast(held)
	}
	messages, again := r.outbox.due(head, time.Now())
	for _, m := range messages {
		r.broadcast(m)
	}
	if wait == 0 || again > 0 && again < wait {
		wait = again
	}
	return wait
}

// broadcast needs mu.
func (r *replica) broadcast(m *smartbftprotos.Message) {
	for _, id := range r.members {
		if id != r.cfg.ID {
			r.send(id, m)
		}
	}
}

// SendTransaction passes a request on to the leader.
func (r *replica) SendTransaction(to uint64, request []byte) {
	if _, raw := splitPoolRequest(request); r.cfg.Transport != nil && raw != nil {
		r.cfg.Transport.SendTransaction(to, bytes.Clone(raw))
	}
}

// poke wakes a loop that waits on a channel of capacity one.
func poke(wake chan<- struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}
