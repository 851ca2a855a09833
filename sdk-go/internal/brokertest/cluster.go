package brokertest

import (
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// StartCluster runs three brokers, with the ids 1 to 3, that have formed a cluster, until the test ends.
func StartCluster(t testing.TB) []*Broker {
	t.Helper()
	return startCluster(t, nil)
}

// StartClusterElsewhere is as StartCluster, but the brokers tell clients that they are at these
// addresses, one for each.
func StartClusterElsewhere(t testing.TB, addresses []string) []*Broker {
	t.Helper()
	return startCluster(t, addresses)
}

func startCluster(t testing.TB, advertised []string) []*Broker {
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
		if advertised != nil {
			b.flags = append(b.flags, "--advertise", advertised[i])
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

// Subscriptions is how many Subscribe streams the broker has open.
func (b *Broker) Subscriptions() int {
	b.t.Helper()
	const metric = "\nropewalk_active_subscriptions "
	answer, err := http.Get("http://" + b.admin + "/metrics")
	if err != nil {
		b.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()
	_, value, _ := strings.Cut("\n"+string(text), metric)
	line, _, _ := strings.Cut(value, "\n")
	count, err := strconv.Atoi(line)
	if err != nil {
		b.t.Fatal(err)
	}
	return count
}

func (b *Broker) output() string { return filepath.Join(b.dir, "output") }
