package consensus

import (
	"testing"
	"time"

	"github.com/hyperledger-labs/SmartBFT/pkg/types"
	"github.com/hyperledger-labs/SmartBFT/smartbftprotos"
)

// The same with one of the four that equivocates and boasts in the middle of
// it: the faults of the others may stop the chain as long as they last, and
// never lead to a second block.
func TestSimulationLiarAmidFaults(t *testing.T) {
	forSeeds(t, 4, 1, func(s *simulation) {
		e := &equivocator{map[string]types.Proposal{}}
		s.nodes[0].liar = &liar{say: func(p *process, to uint64, m *smartbftprotos.Message) (said []*smartbftprotos.Message) {
			if isProposal(m) {
				return e.say(p, to, m)
			}
			for _, m := range boast(p, to, m) {
				said = append(said, e.say(p, to, m)...)
			}
			return said
		}}
		s.nodes[0].stop() // its first life was honest
		s.nodes[0].start()
		s.run(time.Second, 100*time.Millisecond)
		s.disasters(20)
		s.settle(30 * time.Second)
	})
}
