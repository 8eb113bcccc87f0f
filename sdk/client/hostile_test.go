package client_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/net/gateway"
	"github.com/seed79541315/postern/sdk/client"
	"github.com/seed79541315/postern/sdk/key"
)

// refuse dials and requires that the client refuses the gateway with a code.
func refuse(t *testing.T, l *ledger, bundle *client.Bundle, want abi.Code) {
	t.Helper()
	k := newKey(t)
	l.enrol(k, 0)
	c, err := client.Dial(t.Context(), client.Config{Bundle: bundle, Key: k})
	if err == nil {
		c.Close()
		t.Error("the gateway was believed")
		return
	}
	if !errors.Is(err, client.ErrNotGateway) || !errors.Is(err, want) {
		t.Errorf("%v, want %v", err, want)
	}
}

func TestGatewaysThatTheLedgerDoesNotNameAreRefused(t *testing.T) {
	t.Run("genesis, another key", func(t *testing.T) {
		l := newLedger(t)
		address, _ := l.serve(t, newKey(t), "127.0.0.1:0")
		refuse(t, l, l.bundle(address), abi.CodeUnknownAccount)
	})
	t.Run("genesis, no gateway role", func(t *testing.T) {
		l := newLedger(t)
		l.genesis.Accounts[0].Roles = abi.RoleValidator
		l.raw = l.genesis.Append(nil)
		l.header.Chain = chain.ChainID(l.raw)
		address, _ := l.serve(t, l.gateway, "127.0.0.1:0")
		refuse(t, l, l.bundle(address), abi.CodeMissingRole)
	})
	t.Run("another key", func(t *testing.T) {
		l := newLedger(t)
		l.commit(nil, nil, nil)
		address, _ := l.serve(t, newKey(t), "127.0.0.1:0") // with the proof of the true one's account
		refuse(t, l, l.bundle(address), abi.CodeKeyNotCurrent)
	})
	account := func(l *ledger, record *chain.Account) {
		l.commit(map[string][]byte{string(chain.AccountKey(l.gateway.AccountID())): record.Append(nil)}, nil, nil)
	}
	t.Run("role taken away", func(t *testing.T) {
		l := newLedger(t)
		account(l, &chain.Account{Key: l.gateway.Public(), Roles: abi.RoleValidator})
		address, _ := l.serve(t, l.gateway, "127.0.0.1:0")
		refuse(t, l, l.bundle(address), abi.CodeMissingRole)
	})
	t.Run("rotated away", func(t *testing.T) {
		l := newLedger(t)
		successor := newKey(t)
		account(l, &chain.Account{Key: successor.Public(), Roles: abi.RoleGateway})
		address, _ := l.serve(t, l.gateway, "127.0.0.1:0")
		refuse(t, l, l.bundle(address), abi.CodeKeyNotCurrent)
		address, _ = l.serve(t, successor, "127.0.0.1:0")
		dial(t, l, address) // its account is not the hash of its key
	})
	t.Run("no such account", func(t *testing.T) {
		l := newLedger(t)
		delete(l.state, string(chain.AccountKey(l.gateway.AccountID())))
		l.commit(map[string][]byte{"other": nil}, nil, nil)
		address, _ := l.serve(t, l.gateway, "127.0.0.1:0")
		refuse(t, l, l.bundle(address), abi.CodeUnknownAccount)
	})
	t.Run("another chain", func(t *testing.T) {
		l, other := newLedger(t), newLedger(t)
		l.commit(nil, nil, nil)
		address, _ := l.serve(t, l.gateway, "127.0.0.1:0")
		refuse(t, l, other.bundle(address), abi.CodeWrongChain)
	})
	t.Run("another chain, genesis", func(t *testing.T) {
		l, other := newLedger(t), newLedger(t)
		address, _ := l.serve(t, l.gateway, "127.0.0.1:0")
		refuse(t, l, other.bundle(address), abi.CodeWrongChain)
	})
	t.Run("no proof at all", func(t *testing.T) {
		l := newLedger(t)
		l.proof = func([]byte) ([]byte, error) { return []byte{0xa0}, nil }
		address, _ := l.serve(t, l.gateway, "127.0.0.1:0")
		refuse(t, l, l.bundle(address), abi.CodeMalformed)
	})
	t.Run("genesis after the chain has moved on", func(t *testing.T) {
		l := newLedger(t)
		address, _ := l.serve(t, l.gateway, "127.0.0.1:0")
		bundle := l.bundle(address)
		bundle.Height = 1
		refuse(t, l, bundle, abi.CodeBadProof)
	})
	t.Run("older than the bundle", func(t *testing.T) {
		l := newLedger(t)
		l.commit(nil, nil, nil)
		address, _ := l.serve(t, l.gateway, "127.0.0.1:0")
		bundle := l.bundle(address)
		bundle.Height = 2
		refuse(t, l, bundle, abi.CodeTooStale)
	})
}

func TestFalseProofs(t *testing.T) {
	l, other := newLedger(t), newLedger(t)
	l.commit(map[string][]byte{"door": []byte("locked")}, nil, nil)
	other.commit(map[string][]byte{"door": []byte("open")}, nil, nil)
	address, _ := l.serve(t, l.gateway, "127.0.0.1:0")
	c, _ := dial(t, l, address)
	forger := newKey(t)
	for name, test := range map[string]struct {
		forge func(e *proof.Entry)
		code  abi.Code
	}{
		"another value":            {func(e *proof.Entry) { e.State.Value = []byte("open") }, abi.CodeBadProof},
		"absence":                  {func(e *proof.Entry) { e.State = proof.State{Siblings: e.State.Siblings} }, abi.CodeBadProof},
		"another key's proof":      {func(e *proof.Entry) { *e = l.entryLocked(chain.AccountKey(l.gateway.AccountID())) }, abi.CodeBadProof},
		"another root":             {func(e *proof.Entry) { e.Header.State[0]++ }, abi.CodeBadSignature},
		"signed by another":        {func(e *proof.Entry) { e.Certificate = certify(&e.Header, forger) }, abi.CodeBadSignature},
		"no signatures":            {func(e *proof.Entry) { e.Certificate.Signatures = nil }, abi.CodeBadProof},
		"another chain's":          {func(e *proof.Entry) { *e = other.entryLocked([]byte("door")) }, abi.CodeWrongChain},
		"another chain's, renamed": {func(e *proof.Entry) { *e = other.entryLocked([]byte("door")); e.Header.Chain = l.header.Chain }, abi.CodeBadProof},
		"its own validators": {func(e *proof.Entry) {
			e.Validators = chain.ValidatorSet{{ID: 1, Key: forger.Public()}}
			e.Header.Validators = e.Validators.Hash()
			e.Certificate = certify(&e.Header, forger)
		}, abi.CodeBadProof},
		"a genesis header": {func(e *proof.Entry) {
			e.Header = chain.Header{Chain: l.header.Chain, State: rootOf(map[string][]byte{"door": []byte("open")})}
			e.State = prove(map[string][]byte{"door": []byte("open")}, []byte("door"))
		}, abi.CodeBadProof},
	} {
		l.mu.Lock()
		l.proof = func(key []byte) ([]byte, error) {
			e := l.entryLocked(key)
			test.forge(&e)
			return e.Append(nil), nil
		}
		l.mu.Unlock()
		if entry, err := c.Get(t.Context(), []byte("door")); !errors.Is(err, test.code) || entry != nil {
			t.Errorf("%s: %+v, %v, want %v", name, entry, err, test.code)
		}
	}
}

func TestReplayedProofs(t *testing.T) {
	l := newLedger(t)
	l.commit(map[string][]byte{"door": []byte("open")}, nil, nil)
	old := l.entryLocked([]byte("door"))
	address, _ := l.serve(t, l.gateway, "127.0.0.1:0")
	c, _ := dial(t, l, address)
	l.commit(map[string][]byte{"door": []byte("locked")}, nil, nil)
	if entry, err := c.Get(t.Context(), []byte("door")); err != nil || string(entry.Value) != "locked" {
		t.Fatalf("%+v, %v", entry, err)
	}
	answerWith := func(e proof.Entry) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.proof = func([]byte) ([]byte, error) { return e.Append(nil), nil }
	}
	answerWith(old)
	if entry, err := c.Get(t.Context(), []byte("door")); !errors.Is(err, abi.CodeTooStale) {
		t.Errorf("an older proof: %+v, %v", entry, err)
	}
	// Validators that sign two blocks of one height are caught.
	fork := l.entryLocked([]byte("door"))
	fork.Header.Time++
	fork.Certificate = certify(&fork.Header, l.validator)
	answerWith(fork)
	if entry, err := c.Get(t.Context(), []byte("door")); !errors.Is(err, abi.CodeBadProof) {
		t.Errorf("a fork: %+v, %v", entry, err)
	}
}

func TestFalseBlocks(t *testing.T) {
	l := newLedger(t)
	outcome := chain.AppendOutcome(nil, &chain.Outcome{ID: abi.Hash{1}})
	l.commit(nil, [][]byte{[]byte("tx")}, [][]byte{outcome})
	address, _ := l.serve(t, l.gateway, "127.0.0.1:0")
	c, _ := dial(t, l, address)
	good := l.blocks[1]
	header := l.header
	for name, b := range map[string][3][]byte{
		"another transaction": {chain.AppendBlock(nil, &chain.Block{Header: header, Txs: [][]byte{[]byte("tX")}}), good[1], good[2]},
		"no outcomes":         {good[0], good[1], nil},
		"no certificate":      {good[0], nil, good[2]},
		"another height":      {l.blocks[0][0], nil, nil},
		"garbage":             {[]byte("garbage"), good[1], good[2]},
	} {
		l.mu.Lock()
		l.blocks[1] = b
		l.mu.Unlock()
		if _, err := c.Block(t.Context(), 1); err == nil {
			t.Errorf("%s was believed", name)
		}
	}
}

// script is a gateway that answers frame by frame what a test says.
func script(t *testing.T, l *ledger, answer func(w *quic.Stream, q abi.Request)) string {
	t.Helper()
	certificate, err := l.gateway.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	return listenScript(t, l, certificate, answer)
}

func listenScript(t *testing.T, l *ledger, certificate tls.Certificate, answer func(w *quic.Stream, q abi.Request)) string {
	t.Helper()
	listener, err := quic.ListenAddr("127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{certificate}, NextProtos: []string{abi.ALPN}, ClientAuth: tls.RequireAnyClientCert,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.Accept(context.Background())
			if err != nil {
				return
			}
			go func() {
				for {
					s, err := c.AcceptStream(context.Background())
					if err != nil {
						return
					}
					go serveScript(l, s, answer)
				}
			}()
		}
	}()
	return listener.Addr().String()
}

func serveScript(l *ledger, s *quic.Stream, answer func(w *quic.Stream, q abi.Request)) {
	for {
		frame, err := abi.ReadFrame(s, nil)
		if err != nil {
			return
		}
		q, err := abi.ParseRequest(frame)
		if err != nil {
			return
		}
		if q.Op == abi.OpHello {
			account := l.gateway.AccountID()
			e := l.entryLocked(chain.AccountKey(account))
			body := append([]byte{0xa2, 1, 0x58, 32}, account[:]...)
			respond(s, &abi.Response{ID: q.ID, Body: e.Append(append(body, 2))})
			continue
		}
		answer(s, q)
	}
}

func respond(s *quic.Stream, p *abi.Response) {
	_, _ = s.Write(abi.EndFrame(abi.AppendResponse(abi.BeginFrame(nil), p), 0)) // the client may have left
}

// Whatever a gateway answers, a decision that was not given is a denial.
func TestNoPermitWithoutAnAnswer(t *testing.T) {
	permit := abi.AppendAnswer(nil, &abi.Answer{Permit: true})
	for name, answer := range map[string]func(w *quic.Stream, q abi.Request){
		"a code":           func(w *quic.Stream, q abi.Request) { respond(w, &abi.Response{ID: q.ID, Code: abi.CodeDeviceInactive}) },
		"another's answer": func(w *quic.Stream, q abi.Request) { respond(w, &abi.Response{ID: q.ID + 1, Body: permit}) },
		"answer to no one": func(w *quic.Stream, q abi.Request) { respond(w, &abi.Response{ID: 0, Body: permit}) },
		"a permit and an error": func(w *quic.Stream, q abi.Request) {
			respond(w, &abi.Response{ID: q.ID, Body: abi.AppendAnswer(nil, &abi.Answer{Permit: true, Code: abi.CodeDenied})})
		},
		"no decision":      func(w *quic.Stream, q abi.Request) { respond(w, &abi.Response{ID: q.ID, Body: []byte{0xa0}}) },
		"no body":          func(w *quic.Stream, q abi.Request) { respond(w, &abi.Response{ID: q.ID}) },
		"garbage":          func(w *quic.Stream, _ abi.Request) { w.Write([]byte("\x00\x00\x00\x05hello")) },
		"oversized frame":  func(w *quic.Stream, _ abi.Request) { w.Write([]byte{0xff, 0xff, 0xff, 0xff}) },
		"half a frame":     func(w *quic.Stream, _ abi.Request) { w.Write([]byte{0, 0, 0, 9, 1}); w.Close() },
		"end of stream":    func(w *quic.Stream, _ abi.Request) { w.Close() },
		"reset":            func(w *quic.Stream, _ abi.Request) { w.CancelWrite(77); w.CancelRead(77) },
		"no answer at all": func(*quic.Stream, abi.Request) {},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLedger(t)
			c, _ := dial(t, l, script(t, l, answer))
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			got, err := c.Decide(ctx, "lab", request())
			var code abi.Code
			if got.Permit || err == nil || got.Code == abi.OK || !errors.As(err, &code) || code != got.Code {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

// A device that was shut out gets the code, also when the gateway closed the
// connection with it.
func TestClosingCodeReachesTheCaller(t *testing.T) {
	l := newLedger(t)
	l.decide = permit
	address, _ := l.serve(t, l.gateway, "127.0.0.1:0")
	c, k := dial(t, l, address)
	for _, test := range []struct {
		status abi.Status
		code   abi.Code
	}{
		{abi.StatusActive, abi.OK}, {abi.StatusStolen, abi.CodeDeviceInactive}, {abi.StatusActive, abi.OK},
		{abi.StatusRetired, abi.CodeDeviceInactive},
	} {
		l.enrol(k, test.status)
		if answer, err := c.Decide(t.Context(), "", request()); answer.Code != test.code || client.CodeOf(err) != test.code {
			t.Errorf("%v: %+v, %v", test.status, answer, err)
		}
	}
}

func TestReconnects(t *testing.T) {
	l := newLedger(t)
	l.decide = permit
	address, stop := l.serve(t, l.gateway, "127.0.0.1:0")
	c, _ := dial(t, l, address)
	if _, err := c.Decide(t.Context(), "", request()); err != nil {
		t.Fatal(err)
	}
	stop()
	l.serve(t, l.gateway, address) // the same port, another process
	if answer, err := c.Decide(t.Context(), "", request()); err != nil || !answer.Permit {
		t.Errorf("after a restart: %+v, %v", answer, err)
	}
}

// A gateway that died without a word comes back with the same reset key: the
// client learns at once that its connection is gone, not when it times out.
func TestReconnectsAfterACrash(t *testing.T) {
	l := newLedger(t)
	l.decide = permit
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, err := gateway.New(gateway.Config{Conn: conn, Key: l.gateway.Private(), Account: l.gateway.AccountID(), Node: l, ResetKey: [32]byte{1}})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(t.Context()) }()
	c, _ := dial(t, l, conn.LocalAddr().String())
	if _, err := c.Decide(t.Context(), "", request()); err != nil {
		t.Fatal(err)
	}
	conn.Close() // no packet leaves any more
	if err := <-ended; err == nil {
		t.Error("Run said nothing about its socket")
	}
	l.serve(t, l.gateway, conn.LocalAddr().String())
	begin := time.Now()
	if answer, err := c.Decide(t.Context(), "", request()); err != nil || !answer.Permit {
		t.Errorf("%+v, %v", answer, err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestGatewayWithAnotherKindOfKeyIsRefused(t *testing.T) {
	l := newLedger(t)
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	address := listenScript(t, l, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, func(*quic.Stream, abi.Request) {})
	_, err = client.Dial(t.Context(), client.Config{Bundle: l.bundle(address), Key: newKey(t)})
	if !errors.Is(err, abi.CodeNotAuthenticated) {
		t.Error(err)
	}
}

func TestNextGatewayOfTheBundle(t *testing.T) {
	l := newLedger(t)
	l.decide = permit
	impostor, _ := l.serve(t, newKey(t), "127.0.0.1:0")
	address, _ := l.serve(t, l.gateway, "127.0.0.1:0")
	k := newKey(t)
	l.enrol(k, 0)
	bundle := l.bundle(impostor)
	bundle.Gateways = append(bundle.Gateways, address)
	c, err := client.Dial(t.Context(), client.Config{Bundle: bundle, Key: k})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if answer, err := c.Decide(t.Context(), "", request()); err != nil || !answer.Permit {
		t.Errorf("%+v, %v", answer, err)
	}
}

func TestNoGatewayAnswers(t *testing.T) {
	deaf, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	l := newLedger(t)
	begin := time.Now()
	_, err = client.Dial(t.Context(), client.Config{Bundle: l.bundle(deaf.LocalAddr().String()), Key: newKey(t), Timeout: 200 * time.Millisecond, Attempts: 2})
	if !errors.Is(err, abi.CodeTimeout) && !errors.Is(err, abi.CodeUnavailable) {
		t.Error(err)
	}
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("gave up after %v", took)
	}
}

func TestCancelledRequestsLeaveTheOthersAlone(t *testing.T) {
	l := newLedger(t)
	release, waiting := make(chan bool), make(chan bool, 1)
	var first atomic.Bool
	l.decide = func(_ context.Context, _ abi.Caller, domain string, _ []byte) abi.Answer {
		if domain == "slow" && first.CompareAndSwap(false, true) {
			waiting <- true
			<-release
		}
		return abi.Answer{Permit: true, ReasonID: domain}
	}
	address, _ := l.serve(t, l.gateway, "127.0.0.1:0")
	c, _ := dial(t, l, address)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-waiting
		cancel()
	}()
	if answer, err := c.Decide(ctx, "slow", request()); answer.Permit || !errors.Is(err, abi.CodeUnavailable) {
		t.Errorf("%+v, %v", answer, err)
	}
	close(release)
	for range 20 {
		if answer, err := c.Decide(t.Context(), "lab", request()); err != nil || answer.ReasonID != "lab" {
			t.Errorf("%+v, %v", answer, err)
		}
	}
}

func TestCloseEndsRequests(t *testing.T) {
	l := newLedger(t)
	waiting := make(chan bool, 1)
	l.decide = func(ctx context.Context, _ abi.Caller, _ string, _ []byte) abi.Answer {
		waiting <- true
		<-ctx.Done()
		return abi.Answer{Code: abi.CodeTimeout}
	}
	address, _ := l.serve(t, l.gateway, "127.0.0.1:0")
	c, _ := dial(t, l, address)
	go func() {
		<-waiting
		c.Close()
	}()
	if answer, err := c.Decide(t.Context(), "", request()); answer.Permit || !errors.Is(err, abi.CodeUnavailable) {
		t.Errorf("%+v, %v", answer, err)
	}
	if _, err := c.Decide(t.Context(), "", request()); !errors.Is(err, abi.CodeUnavailable) {
		t.Errorf("after Close: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestP256Identity(t *testing.T) {
	l := newLedger(t)
	l.decide = permit
	address, _ := l.serve(t, l.gateway, "127.0.0.1:0")
	k, err := key.GenerateP256()
	if err != nil {
		t.Fatal(err)
	}
	l.enrol(k, 0)
	c, err := client.Dial(t.Context(), client.Config{Bundle: l.bundle(address), Key: k})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if answer, err := c.Decide(t.Context(), "", request()); err != nil || !answer.Permit {
		t.Errorf("%+v, %v", answer, err)
	}
	if _, err := c.Transact(t.Context(), chain.OpCall, &chain.Call{Contract: "x"}, 0); err != nil {
		t.Error(err)
	}
}
