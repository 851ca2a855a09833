package kafka

import (
	"testing"
	"time"
)

// reconnect.backoff.ms=0 is no leave to try without a pause.
func TestReconnectPause(t *testing.T) {
	s := defaultSettings()
	s.reconnectFirst, s.reconnectLatest = 0, 0
	for attempt := range 40 {
		if pause := s.reconnectPause(attempt); pause < 5*time.Millisecond || pause > time.Second {
			t.Errorf("after %d tries it pauses for %v", attempt, pause)
		}
	}
}
