package consensus

import (
	"fmt"
	"time"

	"github.com/hyperledger-labs/SmartBFT/smartbftprotos"
	"google.golang.org/protobuf/proto"
)

// sentMessage saves encoding a broadcast again for every receiver.
type sentMessage struct {
	message *smartbftprotos.Message
	encoded []byte
}

// SendConsensus sends a message of the engine.
func (r *replica) SendConsensus(to uint64, m *smartbftprotos.Message) {
	m = r.word(m)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.echoes(to, m, time.Now()) {
		return
	}
	m = r.tellFormed(m)
	if m.GetStateTransferRequest() != nil {
		r.unasked = 0
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
	if m.GetViewChange() != nil {
		r.tellHeight(to)
	}
	if said := m.GetViewData(); said != nil {
		r.noteWord(to, said)
	}
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
	for _, v := range r.set {
		if v.ID != r.cfg.ID {
			r.send(v.ID, m)
		}
	}
}
