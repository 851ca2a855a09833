package sarama_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/sdk-go/internal/brokertest"
	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// sends is whether a producer of a config can send.
func sends(t *testing.T, address string, config *sarama.Config) {
	t.Helper()
	producer := newProducer(t, []string{address}, config)
	if _, _, err := producer.SendMessage(text("t", "x")); err != nil {
		t.Error(err)
	}
}

func TestTLS(t *testing.T) {
	server, authority := newServer(t), brokertest.NewAuthority(t)
	proxy := brokertest.NewTLSForward(t, server.Address(), authority.Server("127.0.0.1"))
	config := testConfig()
	config.Net.TLS.Enable = true
	config.Net.DialTimeout = 10 * time.Second
	_, err := sarama.NewConsumer([]string{proxy.Address}, config)
	if !errors.Is(err, sarama.ErrOutOfBrokers) {
		t.Errorf("an authority that nobody trusts: %v", err)
	}
	config.Net.TLS.Config = &tls.Config{RootCAs: authority.Pool}
	sends(t, proxy.Address, config)
}

// proxied is a dialer that finds one broker under any name.
type proxied struct {
	address string
	dialed  atomic.Int32
}

func (p *proxied) Dial(network, addr string) (net.Conn, error) {
	if addr != "broker.invalid:9092" || network != "tcp" {
		return nil, fmt.Errorf("asked for %s %s", network, addr)
	}
	p.dialed.Add(1)
	return net.Dial(network, p.address)
}

// withContext is a dialer that can be told to give up.
type withContext struct{ proxied }

func (w *withContext) Dial(string, string) (net.Conn, error) {
	return nil, errors.New("not this way")
}

func (w *withContext) DialContext(_ context.Context, network, addr string) (net.Conn, error) {
	return w.proxied.Dial(network, addr)
}

func TestProxy(t *testing.T) {
	server := newServer(t)
	server.Advertise(1, "broker.invalid:9092")
	for name, dialer := range map[string]interface {
		sarama.ProxyDialer
		count() int32
	}{
		"plain":   &proxied{address: server.Address()},
		"context": &withContext{proxied{address: server.Address()}},
	} {
		t.Run(name, func(t *testing.T) {
			config := testConfig()
			config.Net.Proxy.Enable, config.Net.Proxy.Dialer = true, dialer
			sends(t, "broker.invalid:9092", config)
			if dialer.count() == 0 {
				t.Error("the dialer was not called")
			}
		})
	}
}

func (p *proxied) count() int32 { return p.dialed.Load() }

// stuck is a dialer that does not come back before it is let go.
type stuck struct {
	let    chan struct{}
	closed atomic.Bool
}

func (s *stuck) Dial(string, string) (net.Conn, error) {
	<-s.let
	conn, other := net.Pipe()
	other.Close()
	return &closeTold{conn, &s.closed}, nil
}

type closeTold struct {
	net.Conn
	told *atomic.Bool
}

func (c *closeTold) Close() error {
	c.told.Store(true)
	return c.Conn.Close()
}

// A dialer that hangs does not hold up the program; what it makes too late is closed.
func TestProxyHangs(t *testing.T) {
	dialer := &stuck{let: make(chan struct{})}
	config := testConfig()
	config.Net.Proxy.Enable, config.Net.Proxy.Dialer = true, dialer
	config.Net.DialTimeout = 100 * time.Millisecond
	if _, err := sarama.NewConsumer([]string{"broker.invalid:9092"}, config); err == nil {
		t.Error("a connection was made")
	}
	close(dialer.let)
	eventually(t, "the late connection is closed", dialer.closed.Load)
}

func TestLocalAddr(t *testing.T) {
	server, config := newServer(t), testConfig()
	config.Net.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}
	sends(t, server.Address(), config)
	config.Net.LocalAddr = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)} // nobody has it
	config.Net.DialTimeout = time.Second
	if _, err := sarama.NewConsumer([]string{server.Address()}, config); err == nil {
		t.Error("connected from an address of somebody else")
	}
}

// Metadata.Timeout bounds all tries together.
func TestMetadataTimeout(t *testing.T) {
	server := newServer(t)
	server.Stop()
	config := testConfig()
	config.Metadata.Timeout = 100 * time.Millisecond
	config.Metadata.Retry.Max, config.Metadata.Retry.Backoff = 1<<30, time.Hour
	_, err := sarama.NewConsumer([]string{server.Address()}, config)
	if !errors.Is(err, sarama.ErrOutOfBrokers) {
		t.Errorf("got %v", err)
	}
}

func TestNoAutoTopicCreation(t *testing.T) {
	server, config := newServer(t), testConfig()
	config.Metadata.AllowAutoTopicCreation = false
	producer := newProducer(t, []string{server.Address()}, config)
	if _, _, err := producer.SendMessage(text("t", "x")); err != sarama.ErrUnknownTopicOrPartition {
		t.Errorf("producer: %v", err)
	}
	consumer := newConsumer(t, []string{server.Address()}, config)
	_, err := consumer.ConsumePartition("t", 0, sarama.OffsetNewest)
	if err != sarama.ErrUnknownTopicOrPartition {
		t.Errorf("consumer: %v", err)
	}
	sends(t, server.Address(), testConfig())
	if _, _, err := producer.SendMessage(text("t", "x")); err != nil {
		t.Errorf("it exists: %v", err)
	}
}

// The names of the loopback lead to a broker there.
func TestCanonicalNames(t *testing.T) {
	names, err := net.LookupAddr("127.0.0.1")
	if err != nil || len(names) == 0 {
		t.Skip("the loopback has no name here:", err)
	}
	server, config := newServer(t), testConfig()
	config.Net.ResolveCanonicalBootstrapServers = true
	config.Net.Proxy.Enable = true
	asked := make(chan string, 100)
	config.Net.Proxy.Dialer = dialFunc(func(network, addr string) (net.Conn, error) {
		select {
		case asked <- addr:
		default:
		}
		return net.Dial(network, server.Address())
	})
	sends(t, server.Address(), config)
	host, _, _ := net.SplitHostPort(<-asked)
	if want := strings.TrimSuffix(names[0], "."); host != want {
		t.Errorf("asked for %s, want %s", host, want)
	}
}

type dialFunc func(network, addr string) (net.Conn, error)

func (f dialFunc) Dial(network, addr string) (net.Conn, error) { return f(network, addr) }
