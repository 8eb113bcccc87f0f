package consensus

import (
	"errors"
	"fmt"

	"github.com/hyperledger-labs/SmartBFT/smartbftprotos"
	"google.golang.org/protobuf/proto"

	"github.com/hyperledger-labs/SmartBFT/pkg/types"
)

// believe says why SmartBFT must not see a message by which views change. It
// concludes from what validators say there which blocks cannot have been
// decided, and v1.0.1 believes what nobody has signed: what the leader says
// that others said, if they are behind, and whatever comes under a name for the
// second time. A lying leader could have a second block of a height certified,
// or end every honest validator by a message of the past.
func (r *replica) believe(from uint64, m *smartbftprotos.Message) error {
	switch c := m.GetContent().(type) {
	case *smartbftprotos.Message_NewView:
		return r.believeNewView(from, c.NewView.GetSignedViewData())
	case *smartbftprotos.Message_ViewData:
		return r.believeViewData(from, c.ViewData)
	}
	return nil
}

// ahead is a message by which views change that came before this validator has
// begun to.
type ahead struct {
	from uint64
	kind byte
}

// maxAhead bounds the view data of one validator that is kept: two blocks and
// their votes.
const maxAhead = 1 << 20

// early keeps a message for a view that this validator is not yet about to
// enter: SmartBFT would drop it, and it is never sent again. A new leader that
// is the last to leave the old view would wait in vain for a quorum of the
// others' words. The last of each kind of each validator is kept.
func (r *replica) early(from uint64, m *smartbftprotos.Message) bool {
	words, kind := m.GetNewView().GetSignedViewData(), byte('n')
	if signed := m.GetViewData(); signed != nil && len(signed.RawViewData) <= maxAhead {
		words, kind = []*smartbftprotos.SignedViewData{signed}, 'd'
	}
	if len(words) == 0 {
		return false
	}
	said, err := parseWords(words)
	if err != nil {
		return false
	}
	r.mu.Lock()
	far := said.view == r.promises.least && r.entered < said.view && said.decided > r.cfg.App.Head().Height+1
	keep := far || said.view > r.promises.least
	if keep && r.ahead == nil {
		r.ahead = map[ahead]*smartbftprotos.Message{}
	}
	if keep {
		r.ahead[ahead{from, kind}] = m
	}
	r.mu.Unlock()
	if far {
		r.prompt()
	}
	return keep
}

// parseWords reads the view that words are for and the highest block that one of
// them knows.
func parseWords(words []*smartbftprotos.SignedViewData) (all viewData, err error) {
	for _, signed := range words {
		said, err := parseViewData(signed)
		if err != nil {
			return viewData{}, err
		}
		all = viewData{said.view, max(all.decided, said.decided)}
	}
	return all, nil
}

// catchUp hands over what came early.
func (r *replica) catchUp() {
	r.mu.Lock()
	kept := r.ahead
	r.ahead = nil
	r.mu.Unlock()
	for a, m := range kept {
		r.take(a.from, m)
	}
}

// take gives SmartBFT a message that it can do something with now.
func (r *replica) take(from uint64, m *smartbftprotos.Message) {
	if r.stale(from, m) {
		return
	}
	if err := r.believe(from, m); err != nil {
		r.log.Info("dropped a message of a change of view", "from", from, "err", err)
		return
	}
	if !r.early(from, m) {
		r.bft.HandleMessage(from, m)
	}
}

// believeViewData checks what a validator sends to a new leader: what it says
// before the first block is not checked by SmartBFT, and the others would
// refuse a new view that holds a forgery.
func (r *replica) believeViewData(from uint64, signed *smartbftprotos.SignedViewData) error {
	said, err := parseViewData(signed)
	if err != nil {
		return err
	}
	if signed.GetSigner() != from {
		return fmt.Errorf("it is said to be of validator %d", signed.GetSigner())
	}
	if said.decided > 0 {
		return nil // the key may be of a set that this block brings
	}
	return r.VerifySignature(types.Signature{ID: from, Value: signed.Signature, Msg: signed.RawViewData})
}

// believeNewView checks what the leader of a new view says that others said:
// each of them once, and signed. Those who have a block have seen a quorum vote
// for it, and a quorum of words has one of these voters among them, who had the
// block before it: when none of them is as far, the message is old.
func (r *replica) believeNewView(from uint64, words []*smartbftprotos.SignedViewData) error {
	r.mu.Lock()
	ids := members(r.set)
	r.mu.Unlock()
	if len(words) > len(ids) {
		return errors.New("there are more words than validators")
	}
	heard := make(map[uint64]bool, len(words))
	var decided uint64
	for _, signed := range words {
		said, err := parseViewData(signed)
		if err != nil {
			return err
		}
		if leader := ids[said.view%uint64(len(ids))]; leader != from {
			return fmt.Errorf("validator %d leads view %d", leader, said.view)
		}
		if heard[signed.Signer] {
			return fmt.Errorf("two words of validator %d", signed.Signer)
		}
		heard[signed.Signer] = true
		decided = max(decided, said.decided)
	}
	if head := r.cfg.App.Head().Height; decided+1 < head {
		return fmt.Errorf("its height is %d, this node's %d", decided, head)
	}
	for _, signed := range words {
		if err := r.VerifySignature(types.Signature{ID: signed.Signer, Value: signed.Signature, Msg: signed.RawViewData}); err != nil {
			return err
		}
	}
	return nil
}

// viewData is the part of a validator's word in a change of view that is looked
// at here.
type viewData struct {
	view    uint64 // the one to be entered
	decided uint64 // the height of its last block
}

func parseViewData(signed *smartbftprotos.SignedViewData) (viewData, error) {
	vd := &smartbftprotos.ViewData{}
	if err := proto.Unmarshal(signed.GetRawViewData(), vd); err != nil {
		return viewData{}, fmt.Errorf("view data: %w", err)
	}
	if vd.LastDecision == nil {
		return viewData{}, errors.New("view data without a last decision")
	}
	md, err := parseMetadata(vd.LastDecision.Metadata)
	return viewData{vd.NextView, md.GetLatestSequence()}, err
}
