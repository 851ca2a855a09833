//go:build !unix

package brokertest

import "testing"

// BlackHole skips the test: there is none on this system.
func BlackHole(t testing.TB) string {
	t.Helper()
	t.Skip("there is no black hole on this system")
	return ""
}
