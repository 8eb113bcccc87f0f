package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
	"github.com/seed79541315/postern/sdk/journal"
	"github.com/seed79541315/postern/sdk/journal/journaltest"
	"github.com/seed79541315/postern/sdk/key"
)

// lanes is a chain that executes by the rules of lanes, and the gateways of it.
type lanes struct {
	mu      sync.Mutex
	last    uint64                    // of the one lane there is; guarded by mu
	done    []string                  // messages in the order of execution; guarded by mu
	results map[abi.Hash]abi.TxResult // guarded by mu
}

func (c *lanes) executed() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.done)
}

// execute brings a transaction into a block.
func (c *lanes) execute(raw []byte) (abi.TxResult, error) {
	t, err := chain.ParseTx(raw)
	if err != nil {
		return abi.TxResult{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.Sequence <= c.last {
		return abi.TxResult{}, abi.CodeOutOfSequence
	}
	call, err := chain.ParseCall(t.Args)
	if err != nil {
		return abi.TxResult{}, err
	}
	c.last = t.Sequence
	c.done = append(c.done, string(call.Message))
	o := chain.Outcome{ID: t.ID, Gas: 1}
	if string(call.Message) == "fails" {
		o.Code = abi.CodeNotPermitted
	}
	c.results[t.ID] = abi.TxResult{ID: t.ID, Height: uint64(len(c.done)), Outcome: chain.AppendOutcome(nil, &o)}
	return c.results[t.ID], nil
}

// outpost is a gateway's node on that chain.
type outpost struct {
	*ledger
	chain *lanes

	mu     sync.Mutex
	off    bool                                            // cut off from the others; guarded by mu
	kept   [][]byte                                        // handed in meanwhile; guarded by mu
	refuse func(message string) error                      // before anything else; guarded by mu
	after  func(abi.TxResult, error) (abi.TxResult, error) // what becomes of the answer; guarded by mu
}

func (o *outpost) set(do func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	do()
}

func (o *outpost) Submit(_ context.Context, raw []byte, _ bool) (abi.TxResult, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	t, err := chain.ParseTx(raw)
	if err != nil {
		return abi.TxResult{}, err
	}
	call, err := chain.ParseCall(t.Args)
	if err != nil {
		return abi.TxResult{}, err
	}
	if o.refuse != nil {
		if err := o.refuse(string(call.Message)); err != nil {
			return abi.TxResult{}, err
		}
	}
	if o.off {
		if !o.keeps(t.ID) {
			o.kept = append(o.kept, slices.Clone(raw))
		}
		return abi.TxResult{ID: t.ID}, nil
	}
	res, err := o.chain.execute(raw)
	if o.after != nil {
		return o.after(res, err)
	}
	return res, err
}

func (o *outpost) keeps(id abi.Hash) bool {
	return slices.ContainsFunc(o.kept, func(raw []byte) bool { t, _ := chain.ParseTx(raw); return t.ID == id })
}

func (o *outpost) Tx(id abi.Hash) (abi.TxResult, error) {
	o.chain.mu.Lock()
	res, ok := o.chain.results[id]
	o.chain.mu.Unlock()
	if ok {
		return res, nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.keeps(id) {
		return abi.TxResult{ID: id}, nil
	}
	return abi.TxResult{}, abi.CodeNotFound
}

// heal brings what was kept into blocks.
func (o *outpost) heal() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, raw := range o.kept {
		_, _ = o.chain.execute(raw) // what came by another way is refused
	}
	o.off, o.kept = false, nil
}

// field is a device with a queue in a world of outposts.
type field struct {
	t     *testing.T
	air   *air
	chain *lanes
	posts []*outpost
	sites []*site
	key   *key.Key
	addrs []string
	l     *ledger

	mu   sync.Mutex
	sent []client.Sent // guarded by mu
}

func newField(t *testing.T, posts int) *field {
	f := &field{t: t, air: newAir(t), l: newLedger(t), chain: &lanes{results: map[abi.Hash]abi.TxResult{}}, key: newKey(t)}
	f.l.enrol(f.key, abi.StatusActive)
	for range posts {
		k := newKey(t)
		f.l.addGateway(k)
		o := &outpost{ledger: f.l, chain: f.chain}
		s := f.air.gateway(o, k, f.air.socket())
		f.posts, f.sites, f.addrs = append(f.posts, o), append(f.sites, s), append(f.addrs, s.addr)
	}
	return f
}

// open opens the queue on a disk with a client of its own.
func (f *field) open(d journal.Disk) *client.Queue {
	f.t.Helper()
	c := f.air.client(f.l, f.key, client.Config{Timeout: 2 * time.Second, Attempts: 1}, f.addrs...)
	q, err := c.OpenQueue(client.QueueConfig{Path: "/flash/queue", Lane: 7, Disk: d, MaxEntries: 50, Done: f.done})
	if err != nil {
		f.t.Fatal(err)
	}
	return q
}

func (f *field) done(s client.Sent) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent = append(f.sent, s)
}

func (f *field) errors() (list []error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.sent {
		if s.Err != nil {
			list = append(list, s.Err)
		}
	}
	return list
}

func put(q *client.Queue, message string) error {
	_, err := q.Put(chain.OpCall, &chain.Call{Contract: "log", Message: []byte(message)}, 0)
	return err
}

func (f *field) mustPut(q *client.Queue, messages ...string) {
	f.t.Helper()
	for _, m := range messages {
		if err := put(q, m); err != nil {
			f.t.Fatal(err)
		}
	}
}

// send runs the queue for some time.
func (f *field) send(q *client.Queue, d time.Duration) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), d)
	defer cancel()
	if err := q.Run(ctx); err != nil {
		f.t.Error(err)
	}
}

func (f *field) expect(messages ...string) {
	f.t.Helper()
	if got := f.chain.executed(); !slices.Equal(got, messages) {
		f.t.Errorf("executed %v, want %v", got, messages)
	}
}

// inField runs a test in a bubble.
func inField(t *testing.T, posts int, test func(f *field)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(newField(t, posts)) })
}

func TestQueueSendsWhatWasPutInOffline(t *testing.T) {
	inField(t, 1, func(f *field) {
		d := journaltest.New()
		f.air.cutOff(f.addrs[0], true)
		q := f.open(d)
		f.mustPut(q, "a", "b", "c")
		f.send(q, 10*time.Second)
		f.expect()
		f.air.cutOff(f.addrs[0], false)
		f.mustPut(q, "d")
		f.send(q, time.Minute)
		f.expect("a", "b", "c", "d")
		if q.Len() != 0 || len(f.errors()) != 0 {
			f.t.Errorf("%d wait, %v", q.Len(), f.errors())
		}
		if err := q.Close(); err != nil {
			f.t.Error(err)
		}
		if err := put(q, "e"); !errors.Is(err, abi.CodeShuttingDown) {
			f.t.Errorf("after Close: %v", err)
		}
		f.send(f.open(d), time.Minute)
		f.expect("a", "b", "c", "d")
	})
}

// A gateway that is cut off keeps what it is handed; the device keeps it as well,
// until blocks have it.
func TestQueueByAGatewayThatKeepsForLater(t *testing.T) {
	inField(t, 1, func(f *field) {
		q := f.open(journaltest.New())
		f.posts[0].set(func() { f.posts[0].off = true })
		f.mustPut(q, "a", "b")
		f.send(q, 10*time.Second)
		c := f.air.client(f.l, f.key, client.Config{}, f.addrs...)
		if _, err := c.SubmitWait(f.t.Context(), f.posts[0].kept[0]); !errors.Is(err, client.ErrKept) || !errors.Is(err, abi.CodeTimeout) {
			f.t.Errorf("handed in again: %v", err)
		}
		f.mustPut(q, "c")
		f.send(q, 30*time.Second)
		if n := len(f.posts[0].kept); n != 3 || q.Len() != 3 {
			f.t.Errorf("the gateway keeps %d, the device %d", n, q.Len())
		}
		f.posts[0].heal()
		f.mustPut(q, "d")
		f.send(q, 2*time.Minute)
		f.expect("a", "b", "c", "d")
		if q.Len() != 0 {
			f.t.Errorf("%d wait", q.Len())
		}
	})
}

// The gateway that keeps a transaction dies, and the device goes to another one:
// nothing may overtake what is kept, and nothing comes twice when it is back.
func TestQueueGoesToAnotherGateway(t *testing.T) {
	inField(t, 2, func(f *field) {
		q := f.open(journaltest.New())
		f.posts[0].set(func() { f.posts[0].off = true })
		f.mustPut(q, "a", "b")
		f.send(q, 10*time.Second)
		f.sites[0].stop()
		f.mustPut(q, "c")
		f.send(q, time.Minute)
		f.expect("a", "b", "c")
		f.posts[0].heal()
		f.expect("a", "b", "c")
		if errs := f.errors(); q.Len() != 0 || len(errs) != 0 {
			f.t.Errorf("%d wait, %v", q.Len(), errs)
		}
	})
}

func TestQueueDropsWhatIsRefusedForGood(t *testing.T) {
	inField(t, 1, func(f *field) {
		q := f.open(journaltest.New())
		busy := 3
		f.posts[0].set(func() {
			f.posts[0].refuse = func(message string) error {
				if message == "bad" {
					return abi.CodeGasCap
				}
				if busy--; busy >= 0 {
					return abi.CodeBusy
				}
				return nil
			}
		})
		f.mustPut(q, "a", "bad", "fails", "b")
		f.send(q, time.Minute)
		f.expect("a", "fails", "b")
		errs := f.errors()
		var outcome *client.OutcomeError
		if len(errs) != 2 || !errors.Is(errs[0], abi.CodeGasCap) || !errors.As(errs[1], &outcome) {
			f.t.Errorf("%v", errs)
		}
	})
}

// The answer that a transaction is committed is lost: it is found, and not said to
// be refused.
func TestQueueFindsWhatIsCommitted(t *testing.T) {
	inField(t, 1, func(f *field) {
		q := f.open(journaltest.New())
		f.posts[0].set(func() {
			f.posts[0].after = func(r abi.TxResult, err error) (abi.TxResult, error) {
				if err == nil {
					err = abi.CodeInternal
				}
				return abi.TxResult{}, err
			}
		})
		f.mustPut(q, "a", "b")
		f.send(q, time.Minute)
		f.expect("a", "b")
		if errs := f.errors(); len(errs) != 0 || len(f.sent) != 2 {
			f.t.Errorf("%v of %d", errs, len(f.sent))
		}
	})
}

// Somebody else used the lane: what was overtaken is told as lost, not signed anew.
func TestQueueTellsWhatIsLost(t *testing.T) {
	inField(t, 1, func(f *field) {
		q := f.open(journaltest.New())
		f.mustPut(q, "a")
		f.chain.mu.Lock()
		f.chain.last = 1 << 62
		f.chain.mu.Unlock()
		f.send(q, time.Minute)
		f.expect()
		if errs := f.errors(); len(errs) != 1 || !errors.Is(errs[0], abi.CodeOutOfSequence) {
			f.t.Errorf("%v", errs)
		}
	})
}

func TestQueueIsBounded(t *testing.T) {
	inField(t, 1, func(f *field) {
		q := f.open(journaltest.New())
		for i := range 50 {
			f.mustPut(q, name("m", i))
		}
		require(f.t, put(q, "one more"), abi.CodeBusy)
		f.send(q, time.Minute)
		f.mustPut(q, "again")
	})
}

func TestQueueOfAnotherIsRefused(t *testing.T) {
	inField(t, 1, func(f *field) {
		d := journaltest.New()
		f.mustPut(f.open(d), "a")
		c, _ := f.air.device(f.l, f.addrs...)
		_, err := c.OpenQueue(client.QueueConfig{Path: "/flash/queue", Lane: 7, Disk: d})
		require(f.t, err, abi.CodeBadArgument)
		own := f.air.client(f.l, f.key, client.Config{}, f.addrs...)
		_, err = own.OpenQueue(client.QueueConfig{Path: "/flash/queue", Lane: 8, Disk: d})
		require(f.t, err, abi.CodeBadArgument)
		whole, _ := d.Read("/flash/queue")
		whole[20] ^= 1
		d.Write("/flash/queue", whole)
		if _, err = own.OpenQueue(client.QueueConfig{Path: "/flash/queue", Lane: 7, Disk: d}); !errors.Is(err, journal.ErrDamaged) {
			f.t.Errorf("a damaged file: %v", err)
		}
	})
}

// The disk is full for a while: Put says so, and takes again when there is room.
func TestQueueOnAFullDisk(t *testing.T) {
	inField(t, 1, func(f *field) {
		d := journaltest.New()
		q := f.open(d)
		f.mustPut(q, "a")
		d.FailOnce(1)
		require(f.t, put(q, "b"), abi.CodeUnavailable)
		f.mustPut(q, "c")
		f.send(q, time.Minute)
		f.expect("a", "c")
	})
}

// The power goes at each operation of the disk, before and while the queue is sent;
// whatever is found afterwards, what Put said is executed once and in order.
func TestQueueCrashesAtEveryStep(t *testing.T) {
	for _, done := range []bool{false, true} {
		for step := 1; step <= 24; step++ {
			for _, names := range []bool{false, true} {
				inField(t, 1, func(f *field) {
					d := journaltest.New()
					q := f.open(d)
					d.FailAt(step, done)
					said, tried := []string{}, []string{}
					for i := range 4 {
						m := fmt.Sprint(i)
						tried = append(tried, m)
						if put(q, m) == nil {
							said = append(said, m)
						}
						if i == 1 {
							f.send(q, 200*time.Millisecond)
						}
					}
					f.send(q, 300*time.Millisecond)
					after := f.open(d.Crash(names, 0.5))
					f.send(after, time.Minute)
					got := f.chain.executed()
					if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
						f.t.Errorf("step %d: executed %v", step, got)
					}
					for _, m := range said {
						if !slices.Contains(got, m) {
							f.t.Errorf("step %d: %s was said to be kept, executed %v of %v", step, m, got, tried)
						}
					}
					if after.Len() != 0 {
						f.t.Errorf("step %d: %d wait", step, after.Len())
					}
				})
			}
		}
	}
}

// Many put in at once while others are sent.
func TestQueueAtOnce(t *testing.T) {
	inField(t, 1, func(f *field) {
		q := f.open(journaltest.New())
		ctx, cancel := context.WithCancel(f.t.Context())
		ended := make(chan error)
		go func() { ended <- q.Run(ctx) }()
		many(8, func(i int) {
			for range 5 {
				f.mustPut(q, "m")
				elapse(3 * time.Millisecond)
			}
		})
		elapse(time.Minute)
		cancel()
		if err := <-ended; err != nil || len(f.chain.executed()) != 40 || q.Len() != 0 {
			f.t.Errorf("executed %d, %d wait, %v", len(f.chain.executed()), q.Len(), err)
		}
	})
}
