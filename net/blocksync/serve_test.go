package blocksync

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/net/peer"
)

// answerOf is all frames of an answer, and how it ended.
func answerOf(n *network, name string, q request) (frames [][]byte, err error) {
	st, err := n.Open(context.Background(), keyOf(name), appendRequest(nil, &q))
	if err != nil {
		return nil, err
	}
	defer st.Close()
	for {
		frame, err := st.Receive()
		if err == io.EOF {
			return frames, nil
		}
		if err != nil {
			return frames, err
		}
		frames = append(frames, frame)
	}
}

func TestServeBlocks(t *testing.T) {
	h := build(1000, 300, nil)
	l, n := newLedger(t, h, 1000), newNetwork("self")
	defer n.stop()
	l.prune(11)
	n.connect("a", peer.Validator, honest(t, l))
	for name, c := range map[string]struct {
		q           request
		first, last uint64 // 0: none
	}{
		"where it stands":       {request{kind: kindBlocks}, 0, 0},
		"one":                   {request{kind: kindBlocks, height: 20, count: 1, bytes: 1}, 20, 20},
		"some":                  {request{kind: kindBlocks, height: 20, count: 30, bytes: 1 << 20}, 20, 49},
		"few bytes":             {request{kind: kindBlocks, height: 20, count: 30, bytes: 1}, 20, 20},
		"more than there are":   {request{kind: kindBlocks, height: 990, count: 100, bytes: 1 << 20}, 990, 1000},
		"more than is answered": {request{kind: kindBlocks, height: 11, count: 1 << 60, bytes: 1 << 60}, 11, 10 + maxCount},
		"pruned ones":           {request{kind: kindBlocks, height: 10, count: 10, bytes: 1 << 20}, 0, 0},
		"the genesis":           {request{kind: kindBlocks, height: 0, count: 10, bytes: 1 << 20}, 0, 0},
		"none that there is":    {request{kind: kindBlocks, height: 1001, count: 10, bytes: 1 << 20}, 0, 0},
		"beyond all numbers":    {request{kind: kindBlocks, height: 1<<64 - 1, count: 10, bytes: 1 << 20}, 0, 0},
	} {
		frames, err := answerOf(n, "a", c.q)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		at, _, err := parseBlocksFrame(frames[0])
		if err != nil || at != (standing{11, 1000}) {
			t.Errorf("%s: begins with %+v, %v", name, at, err)
		}
		next := c.first
		for _, frame := range frames[1:] {
			if len(frame) > framePack+1000 {
				t.Errorf("%s: a frame of %d bytes", name, len(frame))
			}
			_, pairs, _ := parseBlocksFrame(frame)
			run, err := parseRun(pairs, next, l.ChainID())
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			next += uint64(len(run))
		}
		if c.first > 0 && next != c.last+1 || c.first == 0 && len(frames) != 1 {
			t.Errorf("%s: %d frames up to block %d", name, len(frames), next)
		}
	}
	for name, q := range map[string]request{
		"live blocks that are pruned": {kind: kindLive, height: 10},
		"a live genesis":              {kind: kindLive, height: 0},
		"an offer":                    {kind: kindOffer},
		"a manifest":                  {kind: kindManifest, height: 5},
		"a chunk":                     {kind: kindChunk, height: 5},
		"guards":                      {kind: kindGuards, height: 5},
	} {
		if _, err := answerOf(n, "a", q); !errors.Is(err, abi.CodeNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestServeIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(10, 10, nil)
		s := syncer(t, newNetwork("nobody"), newLedger(t, h, 10))
		nets := map[string]*network{}
		open := func(from string) error {
			if nets[from] == nil {
				nets[from] = newNetwork(from)
				nets[from].connect("a", peer.Validator, s.Serve)
			}
			st, err := nets[from].Open(t.Context(), keyOf("a"), appendRequest(nil, &request{kind: kindLive, height: 11}))
			if err != nil {
				return err
			}
			_, err = st.Receive()
			return err
		}
		for range streamsOfPeer {
			if err := open("one"); err != nil {
				t.Fatal(err)
			}
		}
		if err := open("one"); !errors.Is(err, abi.CodeBusy) {
			t.Errorf("one more of the same peer: %v", err)
		}
		for i := streamsOfPeer; i < 64; i++ {
			if err := open(string(rune('a' + i%10))); err != nil {
				t.Fatalf("request %d: %v", i, err)
			}
		}
		if err := open("late"); !errors.Is(err, abi.CodeBusy) {
			t.Errorf("one more than there are places: %v", err)
		}
		if p := s.Progress(); p.Serving != 64 {
			t.Errorf("progress: %+v", p)
		}
		for _, n := range nets {
			n.stop()
		}
		if p := s.Progress(); p.Serving != 0 || len(s.serving.of) != 0 {
			t.Errorf("after all have left: %+v", p)
		}
	})
}

func TestFetchedBlocksAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(300, 200<<10, nil) // 60 MB
		l, n := newLedger(t, h, 0), newNetwork("self")
		l.cost = 100 * time.Millisecond
		for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
			n.connect(name, peer.Validator, honest(t, newLedger(t, h, 300)))
		}
		s := syncer(t, n, l)
		done := make(chan error)
		go func() { done <- s.Sync(t.Context()) }()
		most := 0
		for running := true; running; {
			select {
			case err := <-done:
				if err != nil {
					t.Fatal(err)
				}
				running = false
			case <-time.After(10 * time.Millisecond):
				most = max(most, s.Progress().Waiting)
			}
		}
		if limit := s.cfg.WindowBytes + 2*partBytes; most > limit || most < s.cfg.WindowBytes/2 {
			t.Errorf("%d bytes waited, the limit is %d", most, limit)
		}
		n.stop()
	})
}
