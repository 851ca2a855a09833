package sarama

import (
	"fmt"
	"slices"
)

// RebalanceProtocol is what becomes of a session of a consumer group when partitions move. The
// group itself never stops what does not move.
type RebalanceProtocol int8

const (
	// RebalanceProtocolEager has the session end, and Consume return.
	RebalanceProtocolEager RebalanceProtocol = iota

	// RebalanceProtocolCooperative has it go on with the claims that do not move.
	RebalanceProtocolCooperative
)

// String returns eager or cooperative.
func (p RebalanceProtocol) String() string {
	switch p {
	case RebalanceProtocolEager:
		return "eager"
	case RebalanceProtocolCooperative:
		return "cooperative"
	}
	return fmt.Sprintf("unknown(%d)", int8(p))
}

// RebalanceProtocolBalanceStrategy is a strategy that says which protocols it can take part in.
// Others are eager.
type RebalanceProtocolBalanceStrategy interface {
	BalanceStrategy

	// SupportedProtocols returns them.
	SupportedProtocols() []RebalanceProtocol
}

// selectRebalanceProtocol returns the protocol that all strategies know, cooperative if they all
// do.
func selectRebalanceProtocol(strategies []BalanceStrategy) (RebalanceProtocol, error) {
	eager, cooperative := true, true
	for _, strategy := range strategies {
		protocols := []RebalanceProtocol{RebalanceProtocolEager}
		if s, ok := strategy.(RebalanceProtocolBalanceStrategy); ok {
			protocols = s.SupportedProtocols()
		}
		for _, p := range protocols {
			if p != RebalanceProtocolEager && p != RebalanceProtocolCooperative {
				return RebalanceProtocolEager, ConfigurationError(fmt.Sprintf(
					"balance strategy %q has the rebalance protocol %s, which does not exist",
					strategy.Name(), p))
			}
		}
		eager = eager && slices.Contains(protocols, RebalanceProtocolEager)
		cooperative = cooperative && slices.Contains(protocols, RebalanceProtocolCooperative)
	}
	switch {
	case cooperative:
		return RebalanceProtocolCooperative, nil
	case eager:
		return RebalanceProtocolEager, nil
	}
	return RebalanceProtocolEager, ConfigurationError(
		"Consumer.Group.Rebalance.GroupStrategies have no rebalance protocol that all of them know")
}
