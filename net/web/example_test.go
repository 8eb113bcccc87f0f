package web_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/net/web"
)

// node permits everybody who is called alice.
type node struct{ token abi.Hash }

func (n node) Token(token abi.Hash) (chain.Token, error) {
	if token != n.token {
		return chain.Token{}, abi.CodeNotAuthenticated
	}
	return chain.Token{Account: abi.Hash{1}, Domain: abi.DefaultDomain}, nil
}

func (n node) Decide(_ context.Context, _ abi.Caller, _ string, request []byte) abi.Answer {
	q, err := abi.ParseDecisionRequest(request)
	if err != nil || q.Subject.ID != "alice" {
		return abi.Answer{Code: abi.CodeDenied, ReasonID: "not-alice", Record: 2, Height: 10}
	}
	return abi.Answer{Permit: true, Record: 1, Height: 10}
}

func (n node) Domains() ([]string, error) { return []string{abi.DefaultDomain}, nil }

func (n node) Ready() error { return nil }

func Example() {
	lender := httptest.NewTLSServer(nil) // lends its certificate, which its client trusts
	defer lender.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server, err := web.New(web.Config{
		Listener:    listener,
		Certificate: lender.TLS.Certificates[0],
		Node:        node{token: sha256.Sum256([]byte("a-secret-token"))},
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()

	for _, who := range []string{"alice", "mallory"} {
		request, err := http.NewRequest("POST", "https://"+server.Addr().String()+"/access/v1/evaluation", strings.NewReader(
			`{"subject":{"type":"user","id":"`+who+`"},"action":{"name":"open"},"resource":{"type":"door","id":"7"}}`))
		if err != nil {
			log.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer a-secret-token")
		request.Header.Set("Content-Type", "application/json")
		answer, err := lender.Client().Do(request)
		if err != nil {
			log.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			log.Fatal(err)
		}
		answer.Body.Close()
		fmt.Println(answer.StatusCode, string(body))
	}
	stop()
	fmt.Println(<-done)
	// Output:
	// 200 {"decision":true,"context":{"code":"ok","code_number":0,"record":1,"height":10,"staleness_ms":0,"now_ms":0}}
	// 200 {"decision":false,"context":{"code":"denied","code_number":300,"reason":"not-alice","record":2,"height":10,"staleness_ms":0,"now_ms":0}}
	// <nil>
}
