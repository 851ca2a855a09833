package ropewalk

import (
	"context"
	"io"
	"net"
	"slices"
	"testing"

	"google.golang.org/grpc/credentials/insecure"
)

// What is heard is what the first frame says, in however many pieces it comes, and nothing of what
// comes later. Everything is handed on as it came.
func TestTheLimitOfCallsIsHeard(t *testing.T) {
	frame := func(kind byte, settings ...byte) []byte {
		return append([]byte{0, 0, byte(len(settings)), kind, 0, 0, 0, 0, 0}, settings...)
	}
	concurrent := func(high, low byte) []byte { return []byte{0, 3, 0, 0, high, low} }
	window := []byte{0, 4, 0, 16, 0, 0}
	for name, test := range map[string]struct {
		comes   []byte
		told    uint32
		streams int
	}{
		"one setting":   {frame(4, concurrent(3, 232)...), 1000, 500},
		"among others":  {frame(4, slices.Concat(window, concurrent(0, 100), window)...), 100, 50},
		"more than one": {frame(4, slices.Concat(concurrent(0, 7), concurrent(0, 9))...), 9, 4},
		"a single call": {frame(4, concurrent(0, 1)...), 1, 0},
		"many":          {frame(4, concurrent(255, 255)...), 65535, maxLineStreams},
		"none is set":   {frame(4, window...), 0, maxLineStreams},
		"no settings":   {frame(4), 0, maxLineStreams},
		"a later frame": {append(frame(4), frame(4, concurrent(0, 7)...)...), 0, maxLineStreams},
		"another frame": {frame(6, concurrent(0, 7)...), 0, maxLineStreams},
		"cut short":     {frame(4, concurrent(0, 7)...)[:12], 0, maxLineStreams},
		"nothing":       {nil, 0, maxLineStreams},
	} {
		for piece := 1; piece <= 16; piece *= 4 {
			var limit callLimit
			near, far := net.Pipe()
			conn, _, err := limit.heardBy(insecure.NewCredentials()).Clone().
				ClientHandshake(context.Background(), "", near)
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				for part := range slices.Chunk(test.comes, piece) {
					_, _ = far.Write(part) // what came is looked at below
				}
				_ = far.Close()
			}()
			came, err := io.ReadAll(conn)
			if err != nil || !slices.Equal(came, test.comes) {
				t.Errorf("%s: %v, %v", name, came, err)
			}
			told := limit.told
			streams, _ := limit.streams()
			if told != test.told || streams != test.streams {
				t.Errorf("%s, by %d bytes: %d calls, %d streams", name, piece, told, streams)
			}
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
