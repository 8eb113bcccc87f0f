package client_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
	"github.com/seed79541315/postern/sdk/key"
)

// record puts a device on the ledger.
func (l *ledger) record(k *key.Key, status abi.Status) {
	id := k.AccountID()
	account := chain.Account{Key: k.Public()}
	device := chain.Device{Owner: abi.Hash{9}, Manufacturer: "Acme", Model: "D1", Serial: "1", Status: status, Reason: "test"}
	l.commit(map[string][]byte{
		string(chain.KeyIndexKey(k.Public())): id[:],
		string(chain.AccountKey(id)):          account.Append(nil),
		string(chain.DeviceKey(id)):           device.Append(nil),
	}, nil, nil)
	l.enrol(k, status)
}

// talk has two devices shake hands on the loopback interface and one say a word.
func talk(t *testing.T, server, caller *tls.Config) (serverErr, callerErr error) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		s, err := l.Accept()
		if err == nil {
			_, err = s.Write([]byte("open"))
			s.Close()
		}
		done <- err
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, callerErr = io.ReadFull(tls.Client(c, caller), make([]byte, 4))
	c.Close()
	return <-done, callerErr
}

// peer is a device with its client and its configuration.
type peer struct {
	key    *key.Key
	client *client.Client
	tls    *tls.Config
}

func newPeer(t *testing.T, l *ledger, address string, status abi.Status, config client.PeerConfig) *peer {
	t.Helper()
	k := newKey(t)
	l.record(k, status)
	l.enrol(k, abi.StatusActive) // so that it may look others up, whatever it is itself
	return newPeerOf(t, l, address, k, config)
}

func newPeerOf(t *testing.T, l *ledger, address string, k *key.Key, config client.PeerConfig) *peer {
	t.Helper()
	c, err := client.New(client.Config{Bundle: l.bundle(address), Key: k, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	conf, err := c.PeerTLS(config)
	if err != nil {
		t.Fatal(err)
	}
	return &peer{k, c, conf}
}

// careless is the configuration of a peer that admits anybody itself.
func (p *peer) careless() *tls.Config {
	c := p.tls.Clone()
	c.VerifyConnection = nil
	return c
}

func TestDevicesTalkToActiveDevicesOnly(t *testing.T) {
	l := newLedger(t)
	address, _ := l.serve(t, l.gateway, "127.0.0.1:0")
	no := client.PeerConfig{Remember: -1}
	door, badge := newPeer(t, l, address, abi.StatusActive, no), newPeer(t, l, address, abi.StatusActive, no)
	if s, c := talk(t, door.tls, badge.tls); s != nil || c != nil {
		t.Fatalf("two active devices: %v, %v", s, c)
	}
	for name, test := range map[string]struct {
		peer *peer
		code abi.Code
	}{
		"suspended":   {newPeer(t, l, address, abi.StatusSuspended, no), abi.CodeDeviceInactive},
		"quarantined": {newPeer(t, l, address, abi.StatusQuarantined, no), abi.CodeDeviceInactive},
		"stolen":      {newPeer(t, l, address, abi.StatusStolen, no), abi.CodeDeviceInactive},
		"retired":     {newPeer(t, l, address, abi.StatusRetired, no), abi.CodeDeviceInactive},
		"a stranger":  {newPeerOf(t, l, address, newKey(t), no), abi.CodeUnknownKey},
		"no device":   {newPeerOf(t, l, address, l.person(t), no), abi.CodeUnknownDevice},
		"its old key": {newPeerOf(t, l, address, l.rotated(t), no), abi.CodeKeyNotCurrent},
	} {
		t.Run(name, func(t *testing.T) {
			if s, _ := talk(t, door.tls, test.peer.careless()); !errors.Is(s, test.code) {
				t.Errorf("as the caller: %v", s)
			}
			if _, c := talk(t, test.peer.careless(), door.tls); !errors.Is(c, test.code) {
				t.Errorf("as the one called: %v", c)
			}
			require(t, door.client.PeerActive(t.Context(), test.peer.key.Public(), no), test.code)
		})
	}
	l.record(badge.key, abi.StatusQuarantined)
	if s, _ := talk(t, door.tls, badge.careless()); !errors.Is(s, abi.CodeDeviceInactive) {
		t.Errorf("after its quarantine: %v", s)
	}
}

// person makes an account that is no device.
func (l *ledger) person(t *testing.T) *key.Key {
	k := newKey(t)
	id := k.AccountID()
	account := chain.Account{Key: k.Public()}
	l.commit(map[string][]byte{string(chain.KeyIndexKey(k.Public())): id[:], string(chain.AccountKey(id)): account.Append(nil)}, nil, nil)
	return k
}

// rotated makes a key that another has replaced, whose index entry lingers.
func (l *ledger) rotated(t *testing.T) *key.Key {
	old := l.person(t)
	id := old.AccountID()
	account := chain.Account{Key: newKey(t).Public()}
	l.commit(map[string][]byte{string(chain.AccountKey(id)): account.Append(nil)}, nil, nil)
	return old
}

func TestPeersFailClosed(t *testing.T) {
	l := newLedger(t)
	address, stop := l.serve(t, l.gateway, "127.0.0.1:0")
	door := newPeer(t, l, address, abi.StatusActive, client.PeerConfig{Remember: -1, MaxStaleness: time.Second})
	badge := newPeer(t, l, address, abi.StatusActive, client.PeerConfig{Remember: -1})
	foreign := newPeer(t, l, address, abi.StatusActive, client.PeerConfig{Remember: -1, Owner: abi.Hash{8}})
	if _, c := talk(t, badge.tls, foreign.tls); !errors.Is(c, abi.CodeNotPermitted) {
		t.Errorf("another owner's: %v", c)
	}
	l.with(func() { l.staleness = 1001 })
	if s, _ := talk(t, door.tls, badge.tls); !errors.Is(s, abi.CodeTooStale) {
		t.Errorf("by a stale gateway: %v", s)
	}
	l.with(func() { l.staleness = 0 })
	if s, c := talk(t, door.tls, badge.tls); s != nil || c != nil {
		t.Errorf("%v, %v", s, c)
	}
	stop()
	if s, _ := talk(t, door.tls, badge.tls); s == nil {
		t.Error("admitted without a gateway")
	}
	bare := &tls.Config{InsecureSkipVerify: true}
	if s, _ := talk(t, door.tls, bare); s == nil {
		t.Error("admitted without a certificate")
	}
}

// What is remembered is remembered for its time, and no longer.
func TestPeersAreRememberedForAWhile(t *testing.T) {
	l := newLedger(t)
	address, _ := l.serve(t, l.gateway, "127.0.0.1:0")
	door := newPeer(t, l, address, abi.StatusActive, client.PeerConfig{Remember: time.Hour})
	badge := newPeer(t, l, address, abi.StatusActive, client.PeerConfig{})
	for range 2 {
		if s, c := talk(t, door.tls, badge.tls); s != nil || c != nil {
			t.Fatalf("%v, %v", s, c)
		}
		l.with(func() { l.proof = func([]byte) ([]byte, error) { return nil, abi.CodeInternal } })
	}
	if err := door.client.PeerActive(t.Context(), badge.key.Public(), client.PeerConfig{}); err == nil {
		t.Error("PeerActive remembers")
	}
}
