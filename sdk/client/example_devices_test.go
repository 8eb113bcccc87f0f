package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
	"github.com/seed79541315/postern/sdk/key"
)

// connectForExample is the beginning of every program of a device.
func connectForExample(bundle *client.Bundle, device *key.Key) *client.Client {
	c, err := client.Dial(context.Background(), client.Config{Bundle: bundle, Key: device})
	if err != nil {
		log.Fatal(err)
	}
	return c
}

// A lock asks the same at every turn of its handle. It is answered from memory for
// as long as the policy lets a permit live, and nothing has changed.
func ExampleClient_Check() {
	bundle, device, stop := gatewayForExample()
	defer stop()
	c := connectForExample(bundle, device)
	defer c.Close()

	answer, err := c.Check(context.Background(), "default", client.Ask("open", "door", "server-room"))
	var inactive *client.InactiveError
	switch {
	case errors.As(err, &inactive):
		fmt.Println("this device is", inactive.Status, "because", inactive.Reason)
	case err != nil:
		fmt.Println("denied:", client.CodeOf(err).Name()) // offline, for one
	default:
		fmt.Println(answer.Permit, answer.ReasonID)
	}
	// Output: true technicians
}

// A display shows whose status changes, and goes on where it was after a restart.
func ExampleClient_Subscribe() {
	bundle, device, stop := gatewayForExample()
	defer stop()
	c := connectForExample(bundle, device)
	defer c.Close()

	kept := uint64(0) // the height that the last run wrote down
	ledgers := ""
	s := c.Subscribe(abi.EventFilter{Contract: &ledgers, Topic: []byte(chain.TopicDeviceStatus)}, &kept)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	for e, err := range s.Events(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		n, err := chain.ParseNotice(e.Data)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("in block", e.Height, "became", abi.Status(n.Level), n.Reason)
		kept = s.After()
	}
	fmt.Println("goes on after height", kept)
	// Output: goes on after height 0
}

// A sensor without a network keeps what it has to say, and sends it later.
func ExampleClient_OpenQueue() {
	bundle, device, stop := gatewayForExample()
	defer stop()
	c, err := client.New(client.Config{Bundle: bundle, Key: device}) // connects when it has to
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	q, err := c.OpenQueue(client.QueueConfig{Path: filepath.Join(dir, "queue"), Lane: 1, Done: func(s client.Sent) {
		fmt.Println("in block", s.Committed.Height, s.Err)
		cancel()
	}})
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()
	if _, err := q.Put(chain.OpCall, &chain.Call{Contract: "readings", Message: []byte("21.5")}, 0); err != nil {
		log.Fatal(err) // from here on it is on the flash
	}
	if err := q.Run(ctx); err != nil {
		log.Fatal(err)
	}
	// Output: in block 2 <nil>
}

// A vault opens only if two gateways say so.
func ExampleDecideQuorum() {
	bundle, device, stop := gatewayForExample()
	defer stop()
	first := connectForExample(bundle, device) // Config.Addr names a gateway for each
	defer first.Close()
	second := connectForExample(bundle, device)
	defer second.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	answer, all, err := client.DecideQuorum(ctx, []*client.Client{first, second}, 2, "default", client.Ask("open", "vault", "1"), 30*time.Second)
	fmt.Println(answer.Permit, len(all), errors.Is(err, abi.CodeUnavailable)) // they lead to the same gateway
	// Output: false 1 true
}

// Two devices talk to each other, and to no device that the ledger does not know
// as active.
func ExampleClient_PeerTLS() {
	bundle, device, stop := gatewayForExample()
	defer stop()
	c := connectForExample(bundle, device)
	defer c.Close()

	config, err := c.PeerTLS(client.PeerConfig{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("both sides show a certificate:", len(config.Certificates) == 1) // tls.Server and tls.Client take it
	err = c.PeerActive(context.Background(), device.Public(), client.PeerConfig{})
	fmt.Println(client.CodeOf(err).Name())
	// Output:
	// both sides show a certificate: true
	// unknown-key
}
