package ropewalk_test

import (
	"errors"
	"net"
	"sync"
	"testing"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// A client that is closed while something of it is being made closes that too, or has it refused.
// Most of what this can find shows with -race only.
func TestCloseBesideWhatIsBeingMade(t *testing.T) {
	server := newServer(t)
	client := dial(t, server.Address())
	if _, err := client.Admin().CreateTopic(testContext(t), "t", 1); err != nil {
		t.Fatal(err)
	}
	made := map[string]func(*ropewalk.Client) error{
		"producer": func(client *ropewalk.Client) error {
			_, err := client.NewProducer()
			return err
		},
		"consumer": func(client *ropewalk.Client) error {
			_, err := client.NewConsumer(testContext(t), ropewalk.WithTopics("t"))
			return err
		},
		"member": func(client *ropewalk.Client) error {
			_, err := client.JoinGroup(testContext(t), "g", ropewalk.GroupTopics("t"))
			return err
		},
	}
	for what, make := range made {
		t.Run(what, func(t *testing.T) {
			for range 30 {
				client := dial(t, server.Address())
				var both sync.WaitGroup
				for range 4 {
					both.Go(func() {
						if err := make(client); err != nil && !errors.Is(err, ropewalk.ReasonClosed) {
							t.Error(err)
						}
					})
				}
				both.Go(func() {
					if err := client.Close(); err != nil {
						t.Error(err)
					}
				})
				both.Wait()
			}
		})
	}
}

// That a connection was being made when the client was closed says nothing against the broker.
func TestCloseFindsNoBrokerUnreachable(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conns := make(chan net.Conn, 100)
	go func() {
		defer close(conns)
		for {
			conn, err := silent.Accept()
			if err != nil {
				return
			}
			conns <- conn
		}
	}()
	defer func() {
		silent.Close()
		for conn := range conns {
			conn.Close()
		}
	}()
	servers, witness := newCluster(t, 2), newWitness()
	lead(t, servers[0], 2)
	servers[0].Advertise(2, silent.Addr().String())
	client := dial(t, servers[0].Address(), ropewalk.WithHooks(witness))
	sendNumbers(t, newProducer(t, client), 0, 1) // through broker 1
	select {
	case conn := <-conns:
		defer conn.Close()
	case <-testContext(t).Done():
		t.Fatal("nobody connects to the leader")
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	for _, event := range witness.events {
		if e, ok := event.(ropewalk.BrokerUnreachable); ok {
			t.Errorf("told of %+v", e)
		}
	}
}

// A record that was handed over is sent before the client closes, also by a producer that has to ask
// for its id first.
func TestCloseSendsTheFirstRecord(t *testing.T) {
	client := dial(t, newServer(t).Address())
	producer := newProducer(t, client)
	answered := make(chan error, 1)
	record := &ropewalk.Record{Topic: "orders", Value: []byte("12")}
	err := producer.SendAsync(testContext(t), record,
		func(_ *ropewalk.Record, _ ropewalk.Ack, err error) { answered <- err })
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
}
