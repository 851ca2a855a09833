package ropewalk_test

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
	"github.com/ropewalk/ropewalk/sdk-go/internal/brokertest"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
)

// How connections are made: over TLS, and by the program itself.

// behindTLS puts brokers behind proxies that end TLS, and has the cluster tell of these. Each shows
// a certificate for one host, localhost and 127.0.0.1 in turns.
func behindTLS(
	t *testing.T, authority *brokertest.Authority, servers []*testserver.Server,
) (addresses []string, proxies []*brokertest.Forward) {
	t.Helper()
	hosts := []string{"localhost", "127.0.0.1"}
	for i, server := range servers {
		host := hosts[i%2]
		proxy := brokertest.NewTLSForward(t, server.Address(), authority.Server(host))
		_, port, err := net.SplitHostPort(proxy.Address)
		if err != nil {
			t.Fatal(err)
		}
		address := net.JoinHostPort(host, port)
		servers[0].Advertise(uint64(i+1), address)
		addresses, proxies = append(addresses, address), append(proxies, proxy)
	}
	return addresses, proxies
}

func TestTLS(t *testing.T) {
	servers, authority := newCluster(t, 2), brokertest.NewAuthority(t)
	addresses, proxies := behindTLS(t, authority, servers)
	lead(t, servers[0], 2)
	client := dial(t, addresses[0], ropewalk.WithTLS(&tls.Config{RootCAs: authority.Pool}))
	producer := newProducer(t, client)
	sent := sendUntilTakenBy(t, servers[0], producer, 0, 2) // over a connection to the leader
	if first := servers[0].Takers()[0]; first != 1 {
		t.Errorf("the first batch went to broker %d", first)
	}
	// The address that was given is gone: the one that was learned serves, once it was greeted.
	proxies[0].Cut()
	servers[0].Forget(1)
	if _, err := client.Admin().GetCluster(testContext(t)); err != nil {
		t.Fatal(err)
	}
	sendNumbers(t, producer, sent, sent+10)
	inOrder(t, servers[0], sent+10)
	expect(t, newConsumer(t, client, ropewalk.WithTopics("t")), "0", "1")
}

// Of several addresses each is asked for its own name, also where the first one does not answer.
func TestTLSAtAnotherAddress(t *testing.T) {
	servers, authority := newCluster(t, 2), brokertest.NewAuthority(t)
	addresses, proxies := behindTLS(t, authority, servers)
	proxies[0].Cut()
	client, err := ropewalk.Dial(testContext(t), addresses,
		ropewalk.WithLogger(slog.New(slog.DiscardHandler)),
		ropewalk.WithTLS(&tls.Config{RootCAs: authority.Pool}))
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
}

func TestTLSNamesTheServer(t *testing.T) {
	server, authority := newServer(t), brokertest.NewAuthority(t)
	proxy := brokertest.NewTLSForward(t, server.Address(), authority.Server("brokers.example"))
	config := &tls.Config{RootCAs: authority.Pool, ServerName: "brokers.example"}
	client := dial(t, proxy.Address, ropewalk.WithTLS(config))
	config.ServerName = "another.example" // it was copied
	produce(t, client, "t", "a")
	server.CutConnections()
	expect(t, newConsumer(t, client, ropewalk.WithTopics("t")), "a")
}

func TestTLSIsRefused(t *testing.T) {
	server, authority := newServer(t), brokertest.NewAuthority(t)
	proxy := brokertest.NewTLSForward(t, server.Address(), authority.Server("127.0.0.1"))
	for name, test := range map[string]struct {
		address string
		options []ropewalk.ClientOption
		says    string
	}{
		"an authority that is not known": {
			proxy.Address, []ropewalk.ClientOption{ropewalk.WithTLS(nil)}, "certificate"},
		"a certificate for another host": {
			proxy.Address,
			[]ropewalk.ClientOption{ropewalk.WithTLS(
				&tls.Config{RootCAs: authority.Pool, ServerName: "another.example"})},
			"another.example"},
		"a broker without TLS": {
			server.Address(),
			[]ropewalk.ClientOption{ropewalk.WithTLS(&tls.Config{RootCAs: authority.Pool})},
			""},
		"a client without TLS": {proxy.Address, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ropewalk.Dial(testContext(t), []string{test.address}, test.options...)
			if !errors.Is(err, ropewalk.ReasonUnreachable) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A dialer makes every connection, to addresses that only it can find.
func TestDialer(t *testing.T) {
	servers := newCluster(t, 2)
	places := map[string]string{
		"one.invalid:1": servers[0].Address(), "two.invalid:2": servers[1].Address(),
	}
	servers[0].Advertise(1, "one.invalid:1")
	servers[0].Advertise(2, "two.invalid:2")
	lead(t, servers[0], 2)
	var mu sync.Mutex
	dialed := map[string]int{}
	client := dial(t, "one.invalid:1", ropewalk.WithDialer(
		func(ctx context.Context, address string) (net.Conn, error) {
			mu.Lock()
			dialed[address]++
			mu.Unlock()
			return (&net.Dialer{}).DialContext(ctx, "tcp", places[address])
		}))
	sent := sendUntilTakenBy(t, servers[0], newProducer(t, client), 0, 2)
	inOrder(t, servers[0], sent)
	mu.Lock()
	defer mu.Unlock()
	if len(dialed) != 2 || dialed["one.invalid:1"] == 0 || dialed["two.invalid:2"] == 0 {
		t.Errorf("dialed %v", dialed)
	}
}

func TestDialerFails(t *testing.T) {
	_, err := ropewalk.Dial(testContext(t), []string{"one.invalid:1"}, ropewalk.WithDialer(
		func(context.Context, string) (net.Conn, error) { return nil, errors.New("no way there") }))
	if !errors.Is(err, ropewalk.ReasonUnreachable) || !strings.Contains(err.Error(), "no way there") {
		t.Errorf("got %v", err)
	}
}
