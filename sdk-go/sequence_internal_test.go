package ropewalk

import "testing"

// A producer with a name that has used up its epochs asks for more: what it was given first is over,
// and what comes next belongs to another holder of the name.
func TestUsedUpEpochsAreNotBegunAgain(t *testing.T) {
	given := identity{id: 7, epoch: epochsOfAHolder}
	last := identity{id: 7, epoch: given.epoch + epochsOfAHolder - 1}
	p := &Producer{identity: &given}
	p.config.name = "billing"
	l := &lane{numbers: numbering{identity: &last, next: 9}}
	p.renumber(l)
	if p.identity != nil || l.numbers.identity != nil {
		t.Errorf("it goes on as %v, and the partition as %v", p.identity, l.numbers.identity)
	}
	// Another partition has asked meanwhile.
	newer := identity{id: 7, epoch: 2 * epochsOfAHolder}
	p.identity, l.numbers.identity = &newer, &last
	p.renumber(l)
	if p.identity != &newer {
		t.Error("what another partition was given is forgotten")
	}
}
