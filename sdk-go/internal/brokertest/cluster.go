package brokertest

import (
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// StartCluster runs three brokers, with the ids 1 to 3, that have formed a cluster, until the test ends.
func StartCluster(t testing.TB) []*Broker {
	t.Helper()
	binary := Binary(t)
	peers := []string{freeAddress(t), freeAddress(t), freeAddress(t)}
	brokers := make([]*Broker, len(peers))
	var started sync.WaitGroup
	for i, peer := range peers {
		b := &Broker{
			Address: freeAddress(t), t: t, binary: binary, dir: t.TempDir(), admin: freeAddress(t),
			flags: []string{
				"--node-id", strconv.Itoa(i + 1), "--peer-listen", peer,
				"--join", strings.Join(peers, ","), "--bootstrap", "1,2,3",
			},
		}
		brokers[i] = b
		t.Cleanup(b.Kill)
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

func (b *Broker) output() string { return filepath.Join(b.dir, "output") }
