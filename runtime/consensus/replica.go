package consensus

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hyperledger-labs/SmartBFT/pkg/consensus"
	"github.com/hyperledger-labs/SmartBFT/pkg/types"
	"github.com/hyperledger-labs/SmartBFT/smartbftprotos"

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

	left  chan struct{} // capacity one; this validator has left a view
	order *order

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
	wishes    map[uint64]uint64           // the last view that each complained for
	claims    map[uint64]claim            // what each says it has prepared
	offered   uint64                      // the view that SmartBFT was told that the others are in
	decidedIn uint64                      // the view of the head's block
	verified  judged                      // the last proposal that VerifyProposal accepted
	set       chain.ValidatorSet          // the validators that SmartBFT was last told of
	sequence  uint64                      // verification sequence
	nextBatch time.Time                   // when the pump may admit again
	asking    []byte                      // the metadata of the proposal that SmartBFT asked for last
	askedAt   time.Time                   // when
	sent      sentMessage                 // the last message sent
	outbox    outbox
	ahead     map[ahead]*smartbftprotos.Message
	said      lastWord  // in the last change of view
	prompted  time.Time // when SmartBFT was last told to sync
	unheeded  time.Time // when it was first told to since it last did; zero: it has not been
	syncing   bool
	grown     chan struct{} // closed when the ledger grows; nil if nobody waits
	returned  time.Time     // when Deliver or Sync did, zero once SmartBFT went on
	unasked   int           // syncs since SmartBFT last asked for the others' views or had a block delivered
	unsaved   chan struct{} // closed when the last vote is recorded; nil if it is
}

// end records why the engine must stop, and ends the calling goroutine.
func (r *replica) end(err error) {
	r.fail(err)
	runtime.Goexit()
}

// VerificationSequence counts the changes of the validator set. SmartBFT asks
// for it first between its two readings of the log, and then after every block
// that was delivered and after every sync.
func (r *replica) VerificationSequence() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.recovery.reveal()
	r.returned = time.Time{}
	return r.sequence
}

// AuxiliaryData is always empty.
func (r *replica) AuxiliaryData([]byte) []byte { return nil }

// RequestID names a request in the pool.
func (r *replica) RequestID(request []byte) types.RequestInfo {
	id, _ := splitPoolRequest(request)
	return requestInfo(id)
}

// Nodes are the validators' ids.
func (r *replica) Nodes() []uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return members(r.set)
}

// poke wakes a loop that waits on a channel of capacity one.
func poke(wake chan<- struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}
