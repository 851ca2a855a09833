package ropewalktest

import "testing"

// Brokers of one test do not get in each other's way: no address is given twice.
func TestAddressesAreGivenOnce(t *testing.T) {
	seen := map[string]bool{}
	for range 1_000 {
		address := freeAddress(t)
		if seen[address] {
			t.Fatalf("%s was given twice", address)
		}
		seen[address] = true
	}
}
