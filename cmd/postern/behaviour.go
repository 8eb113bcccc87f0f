package main

import (
	"context"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/runtime/behaviour"
)

// verdictLane is the lane of what this gateway tells of devices and of attacks on
// itself. It is not that of decisions' follow-ups: whoever provokes verdicts
// must not hold those up.
const verdictLane = 2

// watchBytes is a sixteenth of a node's memory in MiB, up to what a file of local
// records may take to write every ten minutes.
func watchBytes(memory int) int { return min(max(memory, leanMemory)<<20/16, 64<<20) }

// openBehaviour opens this gateway's judgement of devices. The ledger is open.
func (n *node) openBehaviour(cfg config, id abi.Hash) (err error) {
	if n.verdicts, err = n.openLane(id, "verdicts", verdictLane); err != nil {
		return err
	}
	n.behaviour, err = behaviour.Open(behaviour.Config{
		Ledger: n.ledger, Clock: n.clock, Changed: n.isolationChanged, Dir: n.home.path("behaviour"), Logger: n.log,
		WatchBytes: watchBytes(cfg.Memory),
		Submit: func(ctx context.Context, op chain.Op, args []byte) error {
			if err := n.isGateway("what gateways tell of devices"); err != nil {
				return err
			}
			_, err := n.verdicts.Put(ctx, op, args)
			return err
		},
	})
	return err
}

// isolates says whether this gateway isolates a device by itself.
func (n *node) isolates(device abi.Hash) bool {
	_, _, ok := n.behaviour.Isolated(device)
	return ok
}

// isolationChanged has the device port, and the hook, look again at what a device
// may.
func (n *node) isolationChanged(device abi.Hash) {
	if n.hook != nil {
		n.hook.changed(device)
	}
	if n.gateway != nil { // it opens last, and has nobody connected before
		n.gateway.Recheck(device)
	}
}

// watchReleases ends the local isolation of devices that somebody released on
// the ledger: a name and a reason stand there.
func (n *node) watchReleases(ctx context.Context) error {
	own := ""
	filter := abi.EventFilter{Contract: &own, Topic: []byte(chain.TopicDeviceStatus)}
	after := n.ledger.Head().Height
	for ctx.Err() == nil {
		committed := n.ledger.Committed()
		if head := n.ledger.Head().Height; after == head || !n.behaviour.IsolatesAny() {
			after = head
			select {
			case <-committed:
			case <-ctx.Done():
			}
			continue
		}
		events, upTo, err := n.ledger.Events(after, &filter)
		if err != nil { // blocks that a snapshot replaced: what was released then is isolated for some minutes more
			n.log.WarnContext(ctx, "releases of devices may have been missed", "after", after, "err", err)
			upTo = n.ledger.Head().Height
		}
		for i := range events {
			n.releasedBy(&events[i])
		}
		after = upTo
	}
	return nil
}

func (n *node) releasedBy(e *abi.EventFrame) {
	notice, err := chain.ParseNotice(e.Data)
	if err == nil && notice.By != nil && abi.Status(notice.Level) == abi.StatusActive {
		n.behaviour.Release(notice.Subject)
	}
}
