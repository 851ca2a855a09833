package kafka

import "time"

// adminOptions are what the options of one call say.
type adminOptions struct {
	request, operation time.Duration
	validateOnly       bool
	states             []ConsumerGroupState
	types              []ConsumerGroupType
	refused            error
}

func (o *adminOptions) take(option AdminOption) {
	if option != nil {
		option.apply(o)
	}
}

// optionsOf reads the options of a call.
func optionsOf[T AdminOption](options []T) (adminOptions, error) {
	var o adminOptions
	for _, option := range options {
		o.take(option)
	}
	return o, o.refused
}

// An AdminOption changes one call of an [AdminClient]. Each call takes those of its own interface.
type AdminOption interface{ apply(o *adminOptions) }

func checkTimeout(t time.Duration, most time.Duration, o *adminOptions) {
	if t < 0 || t > most {
		o.refused = errorf(ErrInvalidArg, "a timeout must be 0 to %v, not %v", most, t)
	}
}

// AdminOptionOperationTimeout is what SetAdminOperationTimeout makes.
type AdminOptionOperationTimeout struct{ val time.Duration }

// SetAdminOperationTimeout is accepted: calls return when what they do is done in the cluster.
func SetAdminOperationTimeout(t time.Duration) AdminOptionOperationTimeout {
	return AdminOptionOperationTimeout{t}
}

func (ao AdminOptionOperationTimeout) apply(o *adminOptions) {
	checkTimeout(ao.val, time.Hour, o)
	o.operation = ao.val
}
func (AdminOptionOperationTimeout) supportsCreateTopics()     {}
func (AdminOptionOperationTimeout) supportsDeleteTopics()     {}
func (AdminOptionOperationTimeout) supportsCreatePartitions() {}
func (AdminOptionOperationTimeout) supportsDeleteRecords()    {}

// AdminOptionRequestTimeout is what SetAdminRequestTimeout makes.
type AdminOptionRequestTimeout struct{ val time.Duration }

// SetAdminRequestTimeout bounds a call with all that it needs, beside its context. 0, and the
// default: socket.timeout.ms. At most an hour.
func SetAdminRequestTimeout(t time.Duration) AdminOptionRequestTimeout {
	return AdminOptionRequestTimeout{t}
}

func (ao AdminOptionRequestTimeout) apply(o *adminOptions) {
	checkTimeout(ao.val, time.Hour, o)
	o.request = ao.val
}
func (AdminOptionRequestTimeout) supportsCreateTopics()              {}
func (AdminOptionRequestTimeout) supportsDeleteTopics()              {}
func (AdminOptionRequestTimeout) supportsCreatePartitions()          {}
func (AdminOptionRequestTimeout) supportsAlterConfigs()              {}
func (AdminOptionRequestTimeout) supportsDescribeConfigs()           {}
func (AdminOptionRequestTimeout) supportsListConsumerGroups()        {}
func (AdminOptionRequestTimeout) supportsDescribeConsumerGroups()    {}
func (AdminOptionRequestTimeout) supportsDescribeTopics()            {}
func (AdminOptionRequestTimeout) supportsDescribeCluster()           {}
func (AdminOptionRequestTimeout) supportsDeleteConsumerGroups()      {}
func (AdminOptionRequestTimeout) supportsListConsumerGroupOffsets()  {}
func (AdminOptionRequestTimeout) supportsAlterConsumerGroupOffsets() {}
func (AdminOptionRequestTimeout) supportsListOffsets()               {}
func (AdminOptionRequestTimeout) supportsDeleteRecords()             {}

// An IsolationLevel says which records of transactions count. There are none: both mean the same.
type IsolationLevel int

const (
	// IsolationLevelReadUncommitted: all records count.
	IsolationLevelReadUncommitted IsolationLevel = 0
	// IsolationLevelReadCommitted: those of transactions that were not committed do not.
	IsolationLevelReadCommitted IsolationLevel = 1
)

// AdminOptionIsolationLevel is what SetAdminIsolationLevel makes.
type AdminOptionIsolationLevel struct{ val IsolationLevel }

// SetAdminIsolationLevel is accepted: there are no transactions.
func SetAdminIsolationLevel(isolationLevel IsolationLevel) AdminOptionIsolationLevel {
	return AdminOptionIsolationLevel{isolationLevel}
}

func (AdminOptionIsolationLevel) apply(*adminOptions)  {}
func (AdminOptionIsolationLevel) supportsListOffsets() {}

// AdminOptionValidateOnly is what SetAdminValidateOnly makes.
type AdminOptionValidateOnly struct{ val bool }

// SetAdminValidateOnly asks only whether something could be done. A broker cannot be asked that:
// with true the call fails with ErrUnsupportedFeature, and nothing is done. Default: false.
func SetAdminValidateOnly(validateOnly bool) AdminOptionValidateOnly {
	return AdminOptionValidateOnly{validateOnly}
}

func (ao AdminOptionValidateOnly) apply(o *adminOptions) {
	if o.validateOnly = ao.val; ao.val {
		o.refused = unsupported("to validate only")
	}
}
func (AdminOptionValidateOnly) supportsCreateTopics()     {}
func (AdminOptionValidateOnly) supportsCreatePartitions() {}
func (AdminOptionValidateOnly) supportsAlterConfigs()     {}

// AdminOptionRequireStableOffsets is what SetAdminRequireStableOffsets makes.
type AdminOptionRequireStableOffsets struct{ val bool }

// SetAdminRequireStableOffsets is accepted: committed offsets are stable always.
func SetAdminRequireStableOffsets(val bool) AdminOptionRequireStableOffsets {
	return AdminOptionRequireStableOffsets{val}
}

func (AdminOptionRequireStableOffsets) apply(*adminOptions)               {}
func (AdminOptionRequireStableOffsets) supportsListConsumerGroupOffsets() {}

// AdminOptionMatchConsumerGroupStates is what SetAdminMatchConsumerGroupStates makes.
type AdminOptionMatchConsumerGroupStates struct{ val []ConsumerGroupState }

// SetAdminMatchConsumerGroupStates lists only groups in these states. Default: all.
func SetAdminMatchConsumerGroupStates(
	val []ConsumerGroupState,
) AdminOptionMatchConsumerGroupStates {
	return AdminOptionMatchConsumerGroupStates{val}
}

func (ao AdminOptionMatchConsumerGroupStates) apply(o *adminOptions)    { o.states = ao.val }
func (AdminOptionMatchConsumerGroupStates) supportsListConsumerGroups() {}

// AdminOptionMatchConsumerGroupTypes is what SetAdminMatchConsumerGroupTypes makes.
type AdminOptionMatchConsumerGroupTypes struct{ val []ConsumerGroupType }

// SetAdminMatchConsumerGroupTypes lists only groups of these types; all are of type Consumer.
// Default: all.
func SetAdminMatchConsumerGroupTypes(val []ConsumerGroupType) AdminOptionMatchConsumerGroupTypes {
	return AdminOptionMatchConsumerGroupTypes{val}
}

func (ao AdminOptionMatchConsumerGroupTypes) apply(o *adminOptions)    { o.types = ao.val }
func (AdminOptionMatchConsumerGroupTypes) supportsListConsumerGroups() {}

// AdminOptionIncludeAuthorizedOperations is what SetAdminOptionIncludeAuthorizedOperations makes.
type AdminOptionIncludeAuthorizedOperations struct{ val bool }

// SetAdminOptionIncludeAuthorizedOperations asks what the client may do. There is no authorization:
// with true the call fails with ErrUnsupportedFeature. Default: false.
func SetAdminOptionIncludeAuthorizedOperations(val bool) AdminOptionIncludeAuthorizedOperations {
	return AdminOptionIncludeAuthorizedOperations{val}
}

func (ao AdminOptionIncludeAuthorizedOperations) apply(o *adminOptions) {
	if ao.val {
		o.refused = unsupported("authorization")
	}
}
func (AdminOptionIncludeAuthorizedOperations) supportsDescribeConsumerGroups() {}
func (AdminOptionIncludeAuthorizedOperations) supportsDescribeTopics()         {}
func (AdminOptionIncludeAuthorizedOperations) supportsDescribeCluster()        {}
