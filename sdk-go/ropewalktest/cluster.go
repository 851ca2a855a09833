package ropewalktest

import (
	"strconv"
	"strings"
	"sync"
	"testing"
)

// clusterSize is how many brokers a cluster has: the fewest of which one may fail.
const clusterSize = 3

// WithAdvertised has the brokers of a cluster tell clients that they are at these addresses, one for
// each broker, as behind a proxy.
func WithAdvertised(addresses ...string) Option {
	return func(s *settings) { s.advertised = addresses }
}

// StartCluster runs three brokers, with the ids 1 to 3, that have formed a cluster, until the test ends.
// Each of them takes any call.
func StartCluster(t testing.TB, options ...Option) []*Broker {
	t.Helper()
	s := chosen(options)
	binary := Binary(t)
	peers := make([]string, clusterSize)
	for i := range peers {
		peers[i] = freeAddress(t)
	}
	brokers := make([]*Broker, clusterSize)
	var started sync.WaitGroup
	for i, peer := range peers {
		flags := append([]string{
			"--node-id", strconv.Itoa(i + 1), "--peer-listen", peer,
			"--join", strings.Join(peers, ","), "--bootstrap", "1,2,3",
		}, s.flags...)
		if s.advertised != nil {
			flags = append(flags, "--advertise", s.advertised[i])
		}
		b := newBroker(t, binary, freeAddress(t), flags)
		brokers[i] = b
		// Each is there only when the others are.
		started.Go(func() { _ = b.start() }) // a broker that is not there fails await
	}
	started.Wait()
	for _, b := range brokers {
		if err := b.await(); err != nil {
			t.Fatalf("the broker did not start: %v\n%s", err, b.log())
		}
	}
	return brokers
}
