package kafka

import (
	"testing"

	ropewalk "github.com/ropewalk/ropewalk/sdk-go"
)

// What comes of a partition that is read again while older records of it are handed out may be larger
// than they: then all of them are read again from where the program is.
func TestHeldIsBoundedAlsoWhereItIsReadAgain(t *testing.T) {
	p := &part{assigned: true, flowing: true}
	p.hold(&ropewalk.Record{Value: []byte("small")})
	large, full := make([]byte, mostHeldBytes), 0
	for range 10 {
		if p.hold(&ropewalk.Record{Value: large}) {
			if full++; len(p.held) > 0 || p.flowing || !p.flows() {
				t.Fatalf("%d are held, it flows: %v", len(p.held), p.flowing)
			}
		}
		if p.heldBytes > 2*mostHeldBytes {
			t.Fatalf("%d bytes are held", p.heldBytes)
		}
	}
	if full == 0 {
		t.Error("it was never full")
	}
}
