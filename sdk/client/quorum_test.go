package client_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/sdk/client"
	"github.com/seed79541315/postern/sdk/key"
)

// speaker is a gateway's node that gives its own answer.
type speaker struct {
	*ledger
	answer abi.Answer
	silent bool
}

func (s *speaker) Decide(ctx context.Context, _ abi.Caller, _ string, _ []byte) abi.Answer {
	if s.silent {
		<-ctx.Done()
	}
	return s.answer
}

// council is some gateways, one a speaker, and a client for each.
type council struct {
	air     *air
	ledger  *ledger
	device  *key.Key
	clients []*client.Client
}

func newCouncil(t *testing.T, speakers ...*speaker) *council {
	t.Helper()
	c := &council{air: newAir(t), ledger: newLedger(t), device: newKey(t)}
	c.ledger.enrol(c.device, abi.StatusActive)
	for _, s := range speakers {
		k := newKey(t)
		c.ledger.addGateway(k)
		s.ledger = c.ledger
		c.join(c.air.gateway(s, k, c.air.socket()).addr)
	}
	return c
}

// join adds a client for an address.
func (c *council) join(addr string) {
	c.clients = append(c.clients, c.air.client(c.ledger, c.device, client.Config{Timeout: 5 * time.Second, Attempts: 1}, addr))
}

func yes(height, staleness uint64) *speaker {
	return &speaker{answer: abi.Answer{Permit: true, Contract: "access", Height: height, Staleness: staleness, TTL: 60_000 + height}}
}

func no(code abi.Code) *speaker { return &speaker{answer: abi.Answer{Code: code, Contract: "access"}} }

func of(contract string) *speaker {
	return &speaker{answer: abi.Answer{Permit: true, Contract: contract}}
}

func TestQuorum(t *testing.T) {
	silent := &speaker{silent: true}
	otherCode, obliged := yes(1, 0), yes(1, 0)
	otherCode.answer.CodeHash = abi.Hash{1}
	obliged.answer.Obligations = []byte{0x81, 1}
	for name, test := range map[string]struct {
		speakers []*speaker
		k        int
		permit   bool
		err      error // nil: none
	}{
		"all agree":                           {[]*speaker{yes(5, 10), yes(5, 10)}, 2, true, nil},
		"one alone":                           {[]*speaker{yes(5, 10)}, 1, true, nil},
		"different heights, one decision":     {[]*speaker{yes(5, 10_000), yes(4, 70_000), yes(6, 80_000)}, 3, true, nil},
		"all deny":                            {[]*speaker{no(abi.CodeDenied), no(abi.CodeDenied)}, 2, false, nil},
		"one liar permits":                    {[]*speaker{yes(5, 0), no(abi.CodeDenied)}, 2, false, client.ErrDisagree},
		"one liar of three permits":           {[]*speaker{no(abi.CodeDenied), yes(5, 0), no(abi.CodeDenied)}, 3, false, client.ErrDisagree},
		"denied for different reasons":        {[]*speaker{no(abi.CodeDenied), no(abi.CodeNoPolicy)}, 2, false, client.ErrDisagree},
		"one silent, none to stand in":        {[]*speaker{yes(5, 0), silent}, 2, false, abi.CodeUnavailable},
		"one silent, another stands in":       {[]*speaker{yes(5, 0), silent, yes(5, 0)}, 2, true, nil},
		"one silent, a liar stands in":        {[]*speaker{no(abi.CodeDenied), silent, yes(5, 0)}, 2, false, client.ErrDisagree},
		"different contracts":                 {[]*speaker{of("access"), of("access2")}, 2, false, client.ErrDisagree},
		"different code of one contract":      {[]*speaker{yes(1, 0), otherCode}, 2, false, client.ErrDisagree},
		"different obligations":               {[]*speaker{yes(1, 0), obliged}, 2, false, client.ErrDisagree},
		"all stale":                           {[]*speaker{yes(5, 40_000), yes(5, 31_000)}, 2, false, abi.CodeTooStale},
		"more asked for than there are":       {[]*speaker{yes(5, 0)}, 2, false, abi.CodeBadArgument},
		"none asked for":                      {[]*speaker{yes(5, 0)}, 0, false, abi.CodeBadArgument},
		"an answer without a decision's code": {[]*speaker{no(abi.CodeDenied), of("")}, 2, false, client.ErrDisagree},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCouncil(t, test.speakers...)
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				answer, all, err := client.DecideQuorum(ctx, c.clients, test.k, "vault", request(), 30*time.Second)
				if answer.Permit != test.permit || test.err == nil && err != nil || !errors.Is(err, test.err) {
					t.Errorf("%+v, %v", answer, err)
				}
				if !answer.Permit && answer.Code == abi.OK {
					t.Errorf("a denial without a code: %+v", answer)
				}
				if test.err == nil && len(all) != test.k {
					t.Errorf("%d answers counted", len(all))
				}
			})
		})
	}
}

// Of answers that agree the freshest is given, with the shortest life.
func TestQuorumGivesTheFreshestAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCouncil(t, yes(7, 500), yes(9, 20), yes(8, 900))
		answer, _, err := client.DecideQuorum(t.Context(), c.clients, 3, "", request(), time.Second)
		if err != nil || answer.Height != 9 || answer.Staleness != 20 || answer.TTL != 60_007 {
			t.Errorf("%+v, %v", answer, err)
		}
	})
}

// Two addresses of one gateway are one gateway.
func TestQuorumCountsGatewaysByAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, l := newAir(t), newLedger(t)
		first, second := newKey(t), newKey(t)
		l.addGateway(first)
		l.addGateway(second)
		c := &council{air: a, ledger: l, device: newKey(t)}
		l.enrol(c.device, abi.StatusActive)
		liar := yes(5, 0)
		liar.ledger = l
		for range 2 {
			c.join(a.gateway(liar, first, a.socket()).addr)
		}
		answer, all, err := client.DecideQuorum(t.Context(), c.clients, 2, "", request(), time.Minute)
		if answer.Permit || !errors.Is(err, abi.CodeUnavailable) || len(all) != 1 {
			t.Errorf("%+v, %d answers, %v", answer, len(all), err)
		}
		honest := no(abi.CodeDenied)
		honest.ledger = l
		c.join(a.gateway(honest, second, a.socket()).addr)
		if answer, _, err := client.DecideQuorum(t.Context(), c.clients, 2, "", request(), time.Minute); answer.Permit || !errors.Is(err, client.ErrDisagree) {
			t.Errorf("%+v, %v", answer, err)
		}
	})
}

// A gateway whose key the ledger does not name does not count.
func TestQuorumWithoutProofOfTheGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCouncil(t, yes(5, 0))
		impostor := yes(5, 0)
		impostor.ledger = c.ledger
		c.join(c.air.gateway(impostor, newKey(t), c.air.socket()).addr)
		answer, _, err := client.DecideQuorum(t.Context(), c.clients, 2, "", request(), time.Minute)
		if answer.Permit || !errors.Is(err, abi.CodeUnavailable) || !errors.Is(err, client.ErrNotGateway) {
			t.Errorf("%+v, %v", answer, err)
		}
	})
}
