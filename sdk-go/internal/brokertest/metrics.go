package brokertest

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/sdk-go/ropewalktest"
)

// Subscriptions is how many Subscribe streams a broker has open.
func Subscriptions(t testing.TB, b *ropewalktest.Broker) int {
	t.Helper()
	const metric = "\nropewalk_active_subscriptions "
	answer, err := http.Get("http://" + b.AdminAddress + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()
	_, value, _ := strings.Cut("\n"+string(text), metric)
	line, _, _ := strings.Cut(value, "\n")
	count, err := strconv.Atoi(line)
	if err != nil {
		t.Fatal(err)
	}
	return count
}
