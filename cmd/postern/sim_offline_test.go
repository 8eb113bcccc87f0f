package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/runtime/spool"
	"github.com/seed79541315/postern/sdk/client"
	"github.com/seed79541315/postern/sdk/key"
)

// Where clients of simulated nodes stand; that of the device is on the side of its
// gateway when the network is cut.
const (
	operatorHost = "127.0.1.1"
	deviceHost   = "127.0.1.2"
)

// dialFrom connects a client on a host of the air to a node.
func (s *simulation) dialFrom(host string, port int, n *simulatedNode, k *key.Key) *client.Client {
	s.t.Helper()
	conn, err := s.air.listen(fmt.Sprintf("%s:%d", host, port))
	s.check(err)
	c, err := client.Dial(s.t.Context(), client.Config{Bundle: &client.Bundle{Genesis: s.genesis}, Key: k, Addr: n.host + ":7433", PacketConn: conn, Timeout: 5 * time.Second})
	s.check(err)
	s.t.Cleanup(func() { c.Close(); conn.Close() })
	return c
}

// offlinePolicy lets devices open the shed by any state, the gate with a permit that
// lives for an hour, and the vault by a state that is not much older than a head.
const offlinePolicy = `{"rules": [
  {"id": "shed", "effect": "permit", "actions": ["open"], "resource": {"type": "door", "ids": ["shed"]}},
  {"id": "gate", "effect": "permit", "actions": ["open"], "resource": {"type": "door", "ids": ["gate"]}, "ttl_ms": 3600000},
  {"id": "vault", "effect": "permit", "actions": ["open"], "resource": {"type": "door", "ids": ["vault"]}, "max_staleness_ms": 45000}]}`

// say is the message that has the script contract emit an event with a topic.
func say(topic string) []byte {
	m := append([]byte{'e'}, make([]byte, 8)...)
	m = append(binary.LittleEndian.AppendUint16(m, uint16(len(topic))), topic...)
	return binary.LittleEndian.AppendUint16(m, 0)
}

// TestOfflineGateway cuts one of four validators off. Its device goes on asking,
// learns how stale the answers are, and is denied where the policy bounds that. What
// it hands in is kept, over the gateway's loss of power, and after the heal it is
// executed once and in order, by all nodes.
func TestOfflineGateway(t *testing.T) {
	bubble(t, func(t *testing.T) {
		params := chain.DefaultParams()
		params.ActivationDelay = 0
		s := newSimulationWith(t, *simSeed, 4, 0, params)
		s.startAll()
		gateway := s.nodes[3]
		operator := s.dialFrom(operatorHost, 1, s.nodes[0], s.operator)
		s.furnishOffline(operator)
		device := s.makeKey()
		_, err := enrol(t.Context(), operator, s.operator, device, chain.Enrolment{Manufacturer: "Acme", Model: "D1", Serial: "1"}, nil)
		s.check(err)
		s.await(s.nodes[0].node.ledger.Head().Height, healed)

		cl := s.dialFrom(deviceHost, 1, gateway, device)
		q, err := cl.OpenQueue(client.QueueConfig{Path: filepath.Join(t.TempDir(), "queue"), Lane: 3, Done: func(sent client.Sent) {
			if sent.Err != nil {
				t.Errorf("a transaction of the device: %v", sent.Err)
			}
		}})
		s.check(err)
		defer q.Close()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- q.Run(ctx) }()
		defer func() { cancel(); s.check(<-ended) }()
		put := func(topic string) {
			_, err := q.Put(chain.OpCall, &chain.Call{Contract: "script", Message: say(topic)}, 0)
			s.check(err)
		}
		put("before")
		elapse(10 * time.Second)
		if q.Len() != 0 {
			t.Fatalf("%d transactions wait though nothing is wrong", q.Len())
		}
		s.mustAnswer(cl, "vault", true)

		s.air.partition(gateway.host, deviceHost)
		elapse(time.Minute)
		for i := range 5 {
			put(fmt.Sprint("cut off ", i))
		}
		elapse(time.Minute)
		if kept := gateway.node.spool.Len(); kept != 5 || q.Len() != 5 {
			t.Errorf("the gateway keeps %d, the device %d", kept, q.Len())
		}
		if a := s.mustAnswer(cl, "shed", true); a.Staleness < 100_000 {
			t.Errorf("cut off for two minutes, it says that it is %d ms behind", a.Staleness)
		}
		if a := s.mustAnswer(cl, "vault", false); a.Code != abi.CodeTooStale {
			t.Errorf("denied with %v", a.Code)
		}
		s.nodes[0].mustCommit(1, healed)

		gateway.end() // it may be about to start consensus anew
		gateway.begin()
		put("after its restart")
		elapse(time.Minute)
		if kept := gateway.node.spool.Len(); kept != 6 {
			t.Errorf("after a restart the gateway keeps %d", kept)
		}
		s.air.partition()
		elapse(2 * time.Minute)
		refused, err := spool.ReadRefusals(gateway.node.home.path(spoolDir))
		if kept := gateway.node.spool.Len(); kept != 0 || q.Len() != 0 || len(refused) != 0 || err != nil {
			t.Errorf("after the heal the gateway keeps %d, the device %d; refused: %v", kept, q.Len(), refused)
		}
		s.mustAnswer(cl, "vault", true)
		s.await(s.nodes[0].node.ledger.Head().Height, healed)
		s.agree()
		want := []string{"before", "cut off 0", "cut off 1", "cut off 2", "cut off 3", "cut off 4", "after its restart"}
		for _, n := range s.nodes {
			if got := n.told("script"); !slices.Equal(got, want) {
				t.Errorf("%s executed %q", n.name, got)
			}
		}
	})
}

// TestKeptPermitEndsWithTheStatus suspends a device that keeps a permit: within
// 100 ms of the block on its gateway it is denied, and told why. A permit is kept no
// longer either when another policy is loaded, as soon as the device hears of a block.
func TestKeptPermitEndsWithTheStatus(t *testing.T) {
	bubble(t, func(t *testing.T) {
		params := chain.DefaultParams()
		params.ActivationDelay = 0
		s := newSimulationWith(t, *simSeed, 4, 0, params)
		s.startAll()
		gateway := s.nodes[3]
		operator := s.dialFrom(operatorHost, 1, s.nodes[0], s.operator)
		s.furnishOffline(operator)
		device := s.makeKey()
		_, err := enrol(t.Context(), operator, s.operator, device, chain.Enrolment{Manufacturer: "Acme", Model: "D1", Serial: "1"}, nil)
		s.check(err)
		s.await(s.nodes[0].node.ledger.Head().Height, healed)
		cl := s.dialFrom(deviceHost, 1, gateway, device)
		s.mustKeep(cl)

		_, err = loadPolicy(t.Context(), operator, devContract, []byte(`{"rules": []}`), nil)
		s.check(err)
		elapse(abi.EventHeartbeat*time.Millisecond + time.Second)
		if a, err := cl.Check(t.Context(), "", client.Ask("open", "door", "gate")); err != nil || a.Permit {
			t.Errorf("by the new policy: %+v, %v", a, err)
		}
		_, err = loadPolicy(t.Context(), operator, devContract, []byte(offlinePolicy), nil)
		s.check(err)
		s.await(s.nodes[0].node.ledger.Head().Height, healed)
		s.mustKeep(cl)

		height := gateway.node.ledger.Head().Height
		go operator.Transact(t.Context(), chain.OpDeviceStatus, &chain.DeviceStatus{Device: device.AccountID(), Status: abi.StatusSuspended, Reason: "lost on site"}, 0)
		for next := gateway.node.ledger.Committed(); gateway.node.ledger.Head().Height == height; next = gateway.node.ledger.Committed() {
			<-next
		}
		elapse(100 * time.Millisecond)
		a, err := cl.Check(t.Context(), "", client.Ask("open", "door", "gate"))
		if a.Permit || a.Code != abi.CodeDeviceInactive {
			t.Errorf("100 ms after the block: %+v, %v", a, err)
		}
		status, err := cl.Status(t.Context())
		if err != nil || status.Device != abi.StatusSuspended || status.Reason != "lost on site" {
			t.Errorf("%+v, %v", status, err)
		}
	})
}

// mustKeep has a device keep its permit for the gate.
func (s *simulation) mustKeep(cl *client.Client) {
	s.t.Helper()
	var before abi.Answer
	for range 3 { // the first has the client subscribe, the second is kept
		a, err := cl.Check(s.t.Context(), "", client.Ask("open", "door", "gate"))
		if err != nil || !a.Permit {
			s.t.Fatalf("%+v, %v", a, err)
		}
		elapse(time.Second)
		if a.Record == before.Record && before.Permit {
			return
		}
		before = a
	}
	s.t.Fatal("the permit is not kept")
}

// furnishOffline deploys what the device asks and calls.
func (s *simulation) furnishOffline(operator *client.Client) {
	s.t.Helper()
	ctx := s.t.Context()
	s.check(ensureAccess(ctx, operator))
	_, err := loadPolicy(ctx, operator, devContract, []byte(offlinePolicy), nil)
	s.check(err)
	code, err := os.ReadFile("../../runtime/ledger/testdata/script.wasm")
	s.check(err)
	s.check(operator.Deploy(ctx, client.Deployment{Name: "script", Code: code}))
}

// mustAnswer asks for a door.
func (s *simulation) mustAnswer(cl *client.Client, door string, permit bool) abi.Answer {
	s.t.Helper()
	a, err := cl.Decide(s.t.Context(), "", client.Ask("open", "door", door))
	if err != nil || a.Permit != permit {
		s.t.Errorf("%s: %+v, %v", door, a, err)
	}
	return a
}

// told is the topics of a contract's events, as a node has them.
func (n *simulatedNode) told(contract string) (topics []string) {
	n.sim.t.Helper()
	filter := abi.EventFilter{Contract: &contract}
	for after := uint64(0); after < n.node.ledger.Head().Height; {
		events, upTo, err := n.node.ledger.Events(after, &filter)
		if errors.Is(err, abi.CodeNotFound) {
			n.sim.t.Fatalf("%s keeps no events above height %d", n.name, after)
		}
		n.sim.check(err)
		for _, e := range events {
			topics = append(topics, string(e.Topic))
		}
		after = upTo
	}
	return topics
}
