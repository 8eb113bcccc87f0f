package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/chain/chaintest"
	"github.com/seed79541315/postern/storage/disk/disktest"
)

// inOrder requires that each lane was executed in order, and nothing twice.
func inOrder(t *testing.T, done []string) {
	t.Helper()
	last := map[string]int{}
	for _, m := range done {
		var device, lane, sequence int
		if _, err := fmt.Sscanf(m, "%d.%d.%d", &device, &lane, &sequence); err != nil {
			t.Fatal(err)
		}
		of := fmt.Sprintf("%d.%d", device, lane)
		if sequence <= last[of] {
			t.Errorf("%s came behind sequence %d", m, last[of])
		}
		last[of] = sequence
	}
}

func TestWhatWasKeptIsSentAfterTheHeal(t *testing.T) {
	inWorld(t, func(w *world) {
		for sequence := range uint64(5) {
			for device := range byte(12) {
				w.put(signed(t, device, 1, sequence+1), signed(t, device, 2, sequence+1))
			}
		}
		w.run(time.Minute)
		if n := w.ledger.submitted; n != 0 || w.Len() != 120 {
			t.Errorf("while it was cut off %d were submitted, %d are kept", n, w.Len())
		}
		w.heal()
		w.run(time.Minute)
		done := w.ledger.executed()
		inOrder(t, done)
		if len(done) != 120 || w.Len() != 0 || len(w.disk.Paths()) != 0 || w.bytes != 0 || len(w.senders) != 0 || len(w.order) != 0 {
			t.Errorf("executed %d, kept %d, files %d, bytes %d", len(done), w.Len(), len(w.disk.Paths()), w.bytes)
		}
	})
}

func TestPutRefuses(t *testing.T) {
	inWorld(t, func(w *world) {
		w.put(signed(t, 1, 1, 5))
		window := chain.Body{Chain: testChain, ValidUntil: 1000, Gas: 1, Op: chain.OpCall, Args: (&chain.Call{Contract: "c"}).Append(nil)}
		windowed, err := chain.SignTx(&window, chaintest.Key(1))
		if err != nil {
			t.Fatal(err)
		}
		forged := bytes.Clone(signed(t, 1, 1, 9))
		forged[len(forged)-1] ^= 1
		for name, test := range map[string]struct {
			raw  []byte
			want error
		}{
			"garbage":                    {[]byte{0xff}, abi.CodeMalformed},
			"a tick":                     {chain.AppendTick(nil, 5), ErrNoLane},
			"a window":                   {windowed, ErrNoLane},
			"a bad signature":            {forged, abi.CodeBadSignature},
			"a stranger's":               {signed(t, 200, 1, 1), abi.CodeUnknownAccount},
			"behind a later one":         {signed(t, 1, 1, 4), abi.CodeOutOfSequence},
			"another of its sequence":    {signed(t, 1, 1, 5, 'x'), abi.CodeOutOfSequence},
			"the same again":             {signed(t, 1, 1, 5), nil},
			"before it, in another lane": {signed(t, 1, 2, 1), nil},
		} {
			if _, err := w.Put(test.raw); !errors.Is(err, test.want) {
				t.Errorf("%s: %v, want %v", name, err, test.want)
			}
		}
		if w.Len() != 2 {
			t.Errorf("%d are kept", w.Len())
		}
		if !w.Holds(signed(t, 1, 1, 77)) || w.Holds(signed(t, 1, 3, 1)) || w.Holds([]byte{0xff}) || w.Holds(windowed) {
			t.Error("Holds is wrong")
		}
	})
}

func TestWhatIsKeptIsBounded(t *testing.T) {
	inWorld(t, func(w *world) {
		size := len(signed(t, 1, 1, 1))
		cfg := w.ledger.config()
		cfg.MaxSender, cfg.MaxBytes, cfg.MaxEntries = 3*size, 5*size, 1000
		w.reopen(cfg)
		w.put(signed(t, 1, 1, 1), signed(t, 1, 2, 1), signed(t, 1, 3, 1))
		if _, err := w.Put(signed(t, 1, 4, 1)); !errors.Is(err, abi.CodeBusy) {
			t.Errorf("one sender: %v", err)
		}
		w.put(signed(t, 2, 1, 1), signed(t, 3, 1, 1))
		if _, err := w.Put(signed(t, 4, 1, 1)); !errors.Is(err, abi.CodeBusy) {
			t.Errorf("all: %v", err)
		}
		cfg.MaxBytes, cfg.MaxEntries = 100*size, 5
		w.reopen(cfg)
		if _, err := w.Put(signed(t, 4, 1, 1)); !errors.Is(err, abi.CodeBusy) {
			t.Errorf("entries: %v", err)
		}
		w.heal()
		w.run(time.Minute)
		w.put(signed(t, 4, 1, 1))
	})
}

func TestRefusalsAreKeptAndReported(t *testing.T) {
	inWorld(t, func(w *world) {
		w.put(signed(t, 1, 1, 1), signed(t, 1, 1, 2), signed(t, 2, 1, 1), signed(t, 3, 1, 1))
		w.ledger.refuse = func(tx *chain.Tx) error {
			switch {
			case laneOf(tx).key == chain.AccountID(chaintest.Key(1).Public()) && tx.Sequence == 1:
				return fmt.Errorf("wrapped: %w", abi.CodeKeyNotCurrent)
			case laneOf(tx).key == chain.AccountID(chaintest.Key(3).Public()):
				return abi.CodeDeviceInactive // may be lifted
			}
			return nil
		}
		w.heal()
		w.run(time.Minute)
		w.reopen(w.ledger.config())
		list := w.refusals()
		if len(list) != 1 || list[0].Code != abi.CodeKeyNotCurrent || list[0].Sequence != 1 || list[0].Height != 0 ||
			list[0].Sender != chain.AccountID(chaintest.Key(1).Public()) {
			t.Errorf("%+v", list)
		}
		if !slices.Contains(w.ledger.executed(), "1.1.2") || w.Len() != 1 {
			t.Errorf("executed %v, %d are kept", w.ledger.executed(), w.Len())
		}
		w.ledger.set(func() { w.ledger.refuse, w.ledger.outcome = nil, abi.CodeNotPermitted })
		w.run(time.Minute)
		if s := w.Stats(); s.Kept != 0 || s.Bytes != 0 || s.Taken != 0 || s.Refused != 1 {
			t.Errorf("since it was opened: %+v", s)
		}
		if list = w.refusals(); len(list) != 2 || list[1].Code != abi.CodeNotPermitted || list[1].Height == 0 || w.Len() != 0 {
			t.Errorf("%+v, %d are kept", list, w.Len())
		}
	})
}

func TestOnlyTheNewestRefusalsAreKept(t *testing.T) {
	inWorld(t, func(w *world) {
		for sequence := range uint64(maxRefused + 20) {
			w.put(signed(t, 1, 1, sequence+1))
		}
		w.ledger.refuse = func(*chain.Tx) error { return abi.CodeGasCap }
		w.heal()
		w.run(time.Minute)
		for range 2 {
			list := w.refusals()
			if len(list) != maxRefused || list[0].Sequence != 21 || len(w.disk.Paths()) != maxRefused {
				t.Errorf("%d refusals from %d on, %d files", len(list), list[0].Sequence, len(w.disk.Paths()))
			}
			w.reopen(w.ledger.config())
		}
	})
}

func TestWhatIsTooOldIsGivenUp(t *testing.T) {
	inWorld(t, func(w *world) {
		w.put(signed(t, 1, 1, 1))
		elapse(8 * 24 * time.Hour)
		w.put(signed(t, 1, 1, 2))
		w.reopen(w.ledger.config())
		w.heal()
		w.run(time.Minute)
		if list := w.refusals(); len(list) != 1 || list[0].Code != abi.CodeExpired || !slices.Equal(w.ledger.executed(), []string{"1.1.2"}) {
			t.Errorf("%+v, executed %v", list, w.ledger.executed())
		}
	})
}

// The device handed it in elsewhere as well: what is on the ledger already is done,
// not refused; what another took the lane past is refused.
func TestWhatCameByAnotherWay(t *testing.T) {
	inWorld(t, func(w *world) {
		first, second := signed(t, 1, 1, 1), signed(t, 1, 1, 2)
		w.put(first, second, signed(t, 2, 1, 1))
		for _, raw := range [][]byte{first, second, signed(t, 2, 1, 9)} {
			if _, err := w.ledger.submit(w.t.Context(), raw); err != nil {
				t.Fatal(err)
			}
		}
		w.heal()
		w.run(time.Minute)
		inOrder(t, w.ledger.executed())
		if list := w.refusals(); len(list) != 1 || list[0].Code != abi.CodeOutOfSequence || w.Len() != 0 {
			t.Errorf("%+v, %d are kept", list, w.Len())
		}
	})
}

// Blocks stop again while it sends: it tries until they come.
func TestBlocksComeAndGo(t *testing.T) {
	inWorld(t, func(w *world) {
		w.put(signed(t, 1, 1, 1), signed(t, 1, 1, 2))
		w.ledger.hold = true
		w.heal()
		ctx, cancel := context.WithCancel(w.t.Context())
		ended := make(chan error)
		go func() { ended <- w.Run(ctx) }()
		elapse(time.Minute)
		w.ledger.set(func() { w.ledger.hold = false })
		elapse(time.Minute)
		w.put(signed(t, 1, 1, 3))
		elapse(time.Second)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if done := w.ledger.executed(); !slices.Equal(done, []string{"1.1.1", "1.1.2", "1.1.3"}) {
			t.Errorf("executed %v", done)
		}
	})
}

func TestFullDisk(t *testing.T) {
	inWorld(t, func(w *world) {
		w.put(signed(t, 1, 1, 1))
		w.disk.Full = true
		if _, err := w.Put(signed(t, 1, 1, 2)); !errors.Is(err, abi.CodeUnavailable) {
			t.Errorf("on a full disk: %v", err)
		}
		w.disk.Full = false
		w.put(signed(t, 1, 1, 2))
		w.heal()
		w.run(time.Minute)
		if done := w.ledger.executed(); !slices.Equal(done, []string{"1.1.1", "1.1.2"}) {
			t.Errorf("executed %v", done)
		}
	})
}

// TestCrashAtEveryStep: the power goes at each operation of the disk, while things
// are put in and while they are sent. What Put said it keeps is executed, once and
// in order, by whatever is found afterwards.
func TestCrashAtEveryStep(t *testing.T) {
	for _, done := range []bool{false, true} {
		for step := 1; step <= 40; step++ {
			for _, names := range []bool{false, true} {
				for _, part := range []float64{0, 0.5, 1} {
					inWorld(t, func(w *world) { w.crashAt(step, done, names, part) })
				}
			}
		}
	}
}

func (w *world) crashAt(step int, done, names bool, part float64) {
	w.disk.FailAt, w.disk.Done = w.disk.Steps()+step, done
	w.ledger.refuse = func(tx *chain.Tx) error {
		if tx.Lane == 3 {
			return abi.CodeGasCap
		}
		return nil
	}
	var said []string
	try := func(lane, sequence uint64) {
		if _, err := w.Put(signed(w.t, 1, lane, sequence)); err == nil && lane != 3 {
			said = append(said, fmt.Sprintf("1.%d.%d", lane, sequence))
		}
	}
	for sequence := uint64(1); sequence <= 2; sequence++ {
		try(1, sequence)
		try(2, sequence)
		try(3, sequence)
	}
	w.heal()
	w.run(500 * time.Millisecond)
	try(1, 3)
	w.run(time.Millisecond)

	w.disk = w.disk.Crash(names, part)
	w.reopen(w.ledger.config())
	w.run(time.Minute)
	executed := w.ledger.executed()
	inOrder(w.t, executed)
	for _, m := range said {
		if !slices.Contains(executed, m) {
			w.t.Errorf("step %d: %s was said to be kept; executed %v", step, m, executed)
		}
	}
	if w.Len() != 0 {
		w.t.Errorf("step %d: %d are still kept", step, w.Len())
	}
}

// What lies in the folder and is nobody's is removed, and nothing of it is sent.
func TestForeignFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good := signed(t, 1, 1, 1)
		tx, err := chain.ParseTx(good)
		if err != nil {
			t.Fatal(err)
		}
		name := fileName(laneOf(tx), 1)
		forged := bytes.Clone(good)
		forged[len(forged)-1] ^= 1
		for what, file := range map[string]struct {
			name string
			data []byte
		}{
			"torn":             {name, good[:len(good)/2]},
			"empty":            {name, nil},
			"forged":           {name, forged},
			"another's":        {name, signed(t, 2, 1, 1)},
			"another sequence": {name, signed(t, 1, 1, 2)},
			"another lane":     {name, signed(t, 1, 2, 1)},
			"no name":          {"README", good},
			"upper case":       {string(bytes.ToUpper([]byte(name))), good},
		} {
			d, l := disktest.New(), newFakeLedger()
			path := filepath.Join("/home/spool", file.name)
			d.Put(path, file.data)
			s, err := open(l.config(), d)
			if err != nil || s.Len() != 0 || d.Data(path) != nil {
				t.Errorf("%s: %v, %d kept", what, err, s.Len())
			}
		}
	})
}

// Many hand in and it sends, all at once.
func TestAtOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		w.heal()
		ctx, cancel := context.WithCancel(w.t.Context())
		ended := make(chan error)
		go func() { ended <- w.Run(ctx) }()
		var devices sync.WaitGroup
		for device := range byte(10) {
			devices.Go(func() {
				for sequence := range uint64(20) {
					w.put(signed(t, device, 1, sequence+1))
					if sequence%5 == 0 {
						w.ledger.set(func() { w.ledger.online = device%2 == 0 })
						elapse(time.Millisecond)
					}
				}
			})
		}
		devices.Wait()
		w.heal()
		elapse(time.Minute)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		inOrder(t, w.ledger.executed())
		if len(w.ledger.executed()) != 200 {
			t.Errorf("executed %d", len(w.ledger.executed()))
		}
	})
}

func TestOnARealDisk(t *testing.T) {
	l := newFakeLedger()
	cfg := l.config()
	cfg.Dir = filepath.Join(t.TempDir(), "spool")
	for sequence := range uint64(3) {
		s, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Put(signed(t, 1, 1, sequence+1)); err != nil || s.Len() != int(sequence)+1 {
			t.Errorf("%d kept, %v", s.Len(), err)
		}
	}
	l.online = true
	l.refuse = func(tx *chain.Tx) error {
		if tx.Sequence == 2 {
			return abi.CodeGasCap
		}
		return nil
	}
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for {
			block := l.block()
			if len(l.executed()) == 2 {
				cancel()
				return
			}
			<-block
		}
	}()
	if err := s.Run(ctx); err != nil {
		t.Error(err)
	}
	if done := l.executed(); !slices.Equal(done, []string{"1.1.1", "1.1.3"}) || len(refusals(t, cfg.Dir)) != 1 {
		t.Errorf("executed %v, refused %v", done, refusals(t, cfg.Dir))
	}
	if s, err = Open(cfg); err != nil || len(s.refused) != 1 || len(refusals(t, cfg.Dir)) != 1 {
		t.Errorf("after another start: %v, %v", s.refused, err)
	}
}

// block is closed at the next block.
func (l *fakeLedger) block() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiting
}

// FuzzNames: a name is read only if it is written the same way.
func FuzzNames(f *testing.F) {
	name := fileName(lane{key: abi.Hash{1}, number: 2}, 3)
	f.Add(name)
	f.Add(refusedName(abi.CodeGasCap, 7, name))
	f.Fuzz(func(t *testing.T, s string) {
		if l, sequence, ok := parseName(s); ok && fileName(l, sequence) != s {
			t.Errorf("%q is read as %v %d", s, l, sequence)
		}
		if code, height, l, sequence, ok := parseRefusedName(s); ok && refusedName(code, height, fileName(l, sequence)) != s {
			t.Errorf("%q is read as %v %d", s, l, sequence)
		}
	})
}
