package kafka

import "fmt"

// An ErrorCode says what went wrong. Those below 0 arose on this side, the others are a broker's;
// the numbers are librdkafka's and Kafka's.
type ErrorCode int

// String returns what the code means, for people, in librdkafka's words.
func (c ErrorCode) String() string {
	if text, ok := errorTexts[c]; ok {
		return text
	}
	return fmt.Sprintf("Err-%d?", int(c))
}

// ErrGap: records that were to be read are gone, as retention or DeleteRecords took them. It is no
// code of librdkafka's, which moves a consumer by auto.offset.reset without a word. Reading goes on
// behind them.
const ErrGap ErrorCode = -20001

// Codes of what arose on this side.
const (
	// ErrBadMsg: Bad message format.
	ErrBadMsg ErrorCode = -199
	// ErrBadCompression: Invalid compressed data.
	ErrBadCompression ErrorCode = -198
	// ErrDestroy: Broker handle destroyed for termination.
	ErrDestroy ErrorCode = -197
	// ErrFail: Communication failure with broker.
	ErrFail ErrorCode = -196
	// ErrTransport: Broker transport failure.
	ErrTransport ErrorCode = -195
	// ErrCritSysResource: Critical system resource failure.
	ErrCritSysResource ErrorCode = -194
	// ErrResolve: Host resolution failure.
	ErrResolve ErrorCode = -193
	// ErrMsgTimedOut: Message timed out.
	ErrMsgTimedOut ErrorCode = -192
	// ErrPartitionEOF: No more messages.
	ErrPartitionEOF ErrorCode = -191
	// ErrUnknownPartition: Unknown partition.
	ErrUnknownPartition ErrorCode = -190
	// ErrFs: File or filesystem error.
	ErrFs ErrorCode = -189
	// ErrUnknownTopic: Unknown topic.
	ErrUnknownTopic ErrorCode = -188
	// ErrAllBrokersDown: All broker connections are down.
	ErrAllBrokersDown ErrorCode = -187
	// ErrInvalidArg: Invalid argument or configuration.
	ErrInvalidArg ErrorCode = -186
	// ErrTimedOut: Timed out.
	ErrTimedOut ErrorCode = -185
	// ErrQueueFull: Queue full.
	ErrQueueFull ErrorCode = -184
	// ErrIsrInsuff: ISR count insufficient.
	ErrIsrInsuff ErrorCode = -183
	// ErrNodeUpdate: Broker node update.
	ErrNodeUpdate ErrorCode = -182
	// ErrSsl: SSL error.
	ErrSsl ErrorCode = -181
	// ErrWaitCoord: Waiting for coordinator.
	ErrWaitCoord ErrorCode = -180
	// ErrUnknownGroup: Unknown group.
	ErrUnknownGroup ErrorCode = -179
	// ErrInProgress: Operation in progress.
	ErrInProgress ErrorCode = -178
	// ErrPrevInProgress: Previous operation in progress.
	ErrPrevInProgress ErrorCode = -177
	// ErrExistingSubscription: Existing subscription.
	ErrExistingSubscription ErrorCode = -176
	// ErrAssignPartitions: Assign partitions.
	ErrAssignPartitions ErrorCode = -175
	// ErrRevokePartitions: Revoke partitions.
	ErrRevokePartitions ErrorCode = -174
	// ErrConflict: Conflicting use.
	ErrConflict ErrorCode = -173
	// ErrState: Erroneous state.
	ErrState ErrorCode = -172
	// ErrUnknownProtocol: Unknown protocol.
	ErrUnknownProtocol ErrorCode = -171
	// ErrNotImplemented: Not implemented.
	ErrNotImplemented ErrorCode = -170
	// ErrAuthentication: Authentication failure.
	ErrAuthentication ErrorCode = -169
	// ErrNoOffset: No offset stored.
	ErrNoOffset ErrorCode = -168
	// ErrOutdated: Outdated.
	ErrOutdated ErrorCode = -167
	// ErrTimedOutQueue: Timed out in queue.
	ErrTimedOutQueue ErrorCode = -166
	// ErrUnsupportedFeature: Required feature not supported by broker.
	ErrUnsupportedFeature ErrorCode = -165
	// ErrWaitCache: Awaiting cache update.
	ErrWaitCache ErrorCode = -164
	// ErrIntr: Operation interrupted.
	ErrIntr ErrorCode = -163
	// ErrKeySerialization: Key serialization error.
	ErrKeySerialization ErrorCode = -162
	// ErrValueSerialization: Value serialization error.
	ErrValueSerialization ErrorCode = -161
	// ErrKeyDeserialization: Key deserialization error.
	ErrKeyDeserialization ErrorCode = -160
	// ErrValueDeserialization: Value deserialization error.
	ErrValueDeserialization ErrorCode = -159
	// ErrPartial: Partial response.
	ErrPartial ErrorCode = -158
	// ErrReadOnly: Read-only object.
	ErrReadOnly ErrorCode = -157
	// ErrNoent: No such entry.
	ErrNoent ErrorCode = -156
	// ErrUnderflow: Read underflow.
	ErrUnderflow ErrorCode = -155
	// ErrInvalidType: Invalid type.
	ErrInvalidType ErrorCode = -154
	// ErrRetry: Retry operation.
	ErrRetry ErrorCode = -153
	// ErrPurgeQueue: Purged in queue.
	ErrPurgeQueue ErrorCode = -152
	// ErrPurgeInflight: Purged in flight.
	ErrPurgeInflight ErrorCode = -151
	// ErrFatal: Fatal error.
	ErrFatal ErrorCode = -150
	// ErrInconsistent: Inconsistent state.
	ErrInconsistent ErrorCode = -149
	// ErrGaplessGuarantee: Gap-less ordering would not be guaranteed if proceeding.
	ErrGaplessGuarantee ErrorCode = -148
	// ErrMaxPollExceeded: Maximum application poll interval (max.poll.interval.ms) exceeded.
	ErrMaxPollExceeded ErrorCode = -147
	// ErrUnknownBroker: Unknown broker.
	ErrUnknownBroker ErrorCode = -146
	// ErrNotConfigured: Functionality not configured.
	ErrNotConfigured ErrorCode = -145
	// ErrFenced: This instance has been fenced by a newer instance.
	ErrFenced ErrorCode = -144
	// ErrApplication: Application generated error.
	ErrApplication ErrorCode = -143
	// ErrAssignmentLost: Group partition assignment lost.
	ErrAssignmentLost ErrorCode = -142
	// ErrNoop: No operation performed.
	ErrNoop ErrorCode = -141
	// ErrAutoOffsetReset: No offset to automatically reset to.
	ErrAutoOffsetReset ErrorCode = -140
	// ErrLogTruncation: Partition log truncation detected.
	ErrLogTruncation ErrorCode = -139
	// ErrInvalidDifferentRecord: an invalid record in the same batch caused the failure of this
	// message too.
	ErrInvalidDifferentRecord ErrorCode = -138
	// ErrDestroyBroker: Broker handle destroyed without termination.
	ErrDestroyBroker ErrorCode = -137
)

// Codes of what a broker says.
const (
	// ErrUnknown: Unknown broker error.
	ErrUnknown ErrorCode = -1
	// ErrNoError: Success.
	ErrNoError ErrorCode = 0
	// ErrOffsetOutOfRange: Offset out of range.
	ErrOffsetOutOfRange ErrorCode = 1
	// ErrInvalidMsg: Invalid message.
	ErrInvalidMsg ErrorCode = 2
	// ErrUnknownTopicOrPart: Unknown topic or partition.
	ErrUnknownTopicOrPart ErrorCode = 3
	// ErrInvalidMsgSize: Invalid message size.
	ErrInvalidMsgSize ErrorCode = 4
	// ErrLeaderNotAvailable: Leader not available.
	ErrLeaderNotAvailable ErrorCode = 5
	// ErrNotLeaderForPartition: Not leader for partition.
	ErrNotLeaderForPartition ErrorCode = 6
	// ErrRequestTimedOut: Request timed out.
	ErrRequestTimedOut ErrorCode = 7
	// ErrBrokerNotAvailable: Broker not available.
	ErrBrokerNotAvailable ErrorCode = 8
	// ErrReplicaNotAvailable: Replica not available.
	ErrReplicaNotAvailable ErrorCode = 9
	// ErrMsgSizeTooLarge: Message size too large.
	ErrMsgSizeTooLarge ErrorCode = 10
	// ErrStaleCtrlEpoch: StaleControllerEpochCode.
	ErrStaleCtrlEpoch ErrorCode = 11
	// ErrOffsetMetadataTooLarge: Offset metadata string too large.
	ErrOffsetMetadataTooLarge ErrorCode = 12
	// ErrNetworkException: Broker disconnected before response received.
	ErrNetworkException ErrorCode = 13
	// ErrCoordinatorLoadInProgress: Coordinator load in progress.
	ErrCoordinatorLoadInProgress ErrorCode = 14
	// ErrCoordinatorNotAvailable: Coordinator not available.
	ErrCoordinatorNotAvailable ErrorCode = 15
	// ErrNotCoordinator: Not coordinator.
	ErrNotCoordinator ErrorCode = 16
	// ErrTopicException: Invalid topic.
	ErrTopicException ErrorCode = 17
	// ErrRecordListTooLarge: Message batch larger than configured server segment size.
	ErrRecordListTooLarge ErrorCode = 18
	// ErrNotEnoughReplicas: Not enough in-sync replicas.
	ErrNotEnoughReplicas ErrorCode = 19
	// ErrNotEnoughReplicasAfterAppend: Message(s) written to insufficient number of in-sync
	// replicas.
	ErrNotEnoughReplicasAfterAppend ErrorCode = 20
	// ErrInvalidRequiredAcks: Invalid required acks value.
	ErrInvalidRequiredAcks ErrorCode = 21
	// ErrIllegalGeneration: Specified group generation id is not valid.
	ErrIllegalGeneration ErrorCode = 22
	// ErrInconsistentGroupProtocol: Inconsistent group protocol.
	ErrInconsistentGroupProtocol ErrorCode = 23
	// ErrInvalidGroupID: Invalid group.id.
	ErrInvalidGroupID ErrorCode = 24
	// ErrUnknownMemberID: Unknown member.
	ErrUnknownMemberID ErrorCode = 25
	// ErrInvalidSessionTimeout: Invalid session timeout.
	ErrInvalidSessionTimeout ErrorCode = 26
	// ErrRebalanceInProgress: Group rebalance in progress.
	ErrRebalanceInProgress ErrorCode = 27
	// ErrInvalidCommitOffsetSize: Commit offset data size is not valid.
	ErrInvalidCommitOffsetSize ErrorCode = 28
	// ErrTopicAuthorizationFailed: Topic authorization failed.
	ErrTopicAuthorizationFailed ErrorCode = 29
	// ErrGroupAuthorizationFailed: Group authorization failed.
	ErrGroupAuthorizationFailed ErrorCode = 30
	// ErrClusterAuthorizationFailed: Cluster authorization failed.
	ErrClusterAuthorizationFailed ErrorCode = 31
	// ErrInvalidTimestamp: Invalid timestamp.
	ErrInvalidTimestamp ErrorCode = 32
	// ErrUnsupportedSaslMechanism: Unsupported SASL mechanism.
	ErrUnsupportedSaslMechanism ErrorCode = 33
	// ErrIllegalSaslState: Request not valid in current SASL state.
	ErrIllegalSaslState ErrorCode = 34
	// ErrUnsupportedVersion: API version not supported.
	ErrUnsupportedVersion ErrorCode = 35
	// ErrTopicAlreadyExists: Topic already exists.
	ErrTopicAlreadyExists ErrorCode = 36
	// ErrInvalidPartitions: Invalid number of partitions.
	ErrInvalidPartitions ErrorCode = 37
	// ErrInvalidReplicationFactor: Invalid replication factor.
	ErrInvalidReplicationFactor ErrorCode = 38
	// ErrInvalidReplicaAssignment: Invalid replica assignment.
	ErrInvalidReplicaAssignment ErrorCode = 39
	// ErrInvalidConfig: Configuration is invalid.
	ErrInvalidConfig ErrorCode = 40
	// ErrNotController: Not controller for cluster.
	ErrNotController ErrorCode = 41
	// ErrInvalidRequest: Invalid request.
	ErrInvalidRequest ErrorCode = 42
	// ErrUnsupportedForMessageFormat: Message format on broker does not support request.
	ErrUnsupportedForMessageFormat ErrorCode = 43
	// ErrPolicyViolation: Policy violation.
	ErrPolicyViolation ErrorCode = 44
	// ErrOutOfOrderSequenceNumber: Broker received an out of order sequence number.
	ErrOutOfOrderSequenceNumber ErrorCode = 45
	// ErrDuplicateSequenceNumber: Broker received a duplicate sequence number.
	ErrDuplicateSequenceNumber ErrorCode = 46
	// ErrInvalidProducerEpoch: Producer attempted an operation with an old epoch.
	ErrInvalidProducerEpoch ErrorCode = 47
	// ErrInvalidTxnState: Producer attempted a transactional operation in an invalid state.
	ErrInvalidTxnState ErrorCode = 48
	// ErrInvalidProducerIDMapping: Producer attempted to use a producer id which is not currently
	// assigned to its transactional id.
	ErrInvalidProducerIDMapping ErrorCode = 49
	// ErrInvalidTransactionTimeout: Transaction timeout is larger than the maximum value allowed
	// by the broker's max.transaction.timeout.ms.
	ErrInvalidTransactionTimeout ErrorCode = 50
	// ErrConcurrentTransactions: Producer attempted to update a transaction while another
	// concurrent operation on the same transaction was ongoing.
	ErrConcurrentTransactions ErrorCode = 51
	// ErrTransactionCoordinatorFenced: Indicates that the transaction coordinator sending a
	// WriteTxnMarker is no longer the current coordinator for a given producer.
	ErrTransactionCoordinatorFenced ErrorCode = 52
	// ErrTransactionalIDAuthorizationFailed: Transactional Id authorization failed.
	ErrTransactionalIDAuthorizationFailed ErrorCode = 53
	// ErrSecurityDisabled: Security features are disabled.
	ErrSecurityDisabled ErrorCode = 54
	// ErrOperationNotAttempted: Operation not attempted.
	ErrOperationNotAttempted ErrorCode = 55
	// ErrKafkaStorageError: Disk error when trying to access log file on disk.
	ErrKafkaStorageError ErrorCode = 56
	// ErrLogDirNotFound: The user-specified log directory is not found in the broker config.
	ErrLogDirNotFound ErrorCode = 57
	// ErrSaslAuthenticationFailed: SASL Authentication failed.
	ErrSaslAuthenticationFailed ErrorCode = 58
	// ErrUnknownProducerID: Unknown Producer Id.
	ErrUnknownProducerID ErrorCode = 59
	// ErrReassignmentInProgress: Partition reassignment is in progress.
	ErrReassignmentInProgress ErrorCode = 60
	// ErrDelegationTokenAuthDisabled: Delegation Token feature is not enabled.
	ErrDelegationTokenAuthDisabled ErrorCode = 61
	// ErrDelegationTokenNotFound: Delegation Token is not found on server.
	ErrDelegationTokenNotFound ErrorCode = 62
	// ErrDelegationTokenOwnerMismatch: Specified Principal is not valid Owner/Renewer.
	ErrDelegationTokenOwnerMismatch ErrorCode = 63
	// ErrDelegationTokenRequestNotAllowed: Delegation Token requests are not allowed on this
	// connection.
	ErrDelegationTokenRequestNotAllowed ErrorCode = 64
	// ErrDelegationTokenAuthorizationFailed: Delegation Token authorization failed.
	ErrDelegationTokenAuthorizationFailed ErrorCode = 65
	// ErrDelegationTokenExpired: Delegation Token is expired.
	ErrDelegationTokenExpired ErrorCode = 66
	// ErrInvalidPrincipalType: Supplied principalType is not supported.
	ErrInvalidPrincipalType ErrorCode = 67
	// ErrNonEmptyGroup: The group is not empty.
	ErrNonEmptyGroup ErrorCode = 68
	// ErrGroupIDNotFound: The group id does not exist.
	ErrGroupIDNotFound ErrorCode = 69
	// ErrFetchSessionIDNotFound: The fetch session ID was not found.
	ErrFetchSessionIDNotFound ErrorCode = 70
	// ErrInvalidFetchSessionEpoch: The fetch session epoch is invalid.
	ErrInvalidFetchSessionEpoch ErrorCode = 71
	// ErrListenerNotFound: No matching listener.
	ErrListenerNotFound ErrorCode = 72
	// ErrTopicDeletionDisabled: Topic deletion is disabled.
	ErrTopicDeletionDisabled ErrorCode = 73
	// ErrFencedLeaderEpoch: Leader epoch is older than broker epoch.
	ErrFencedLeaderEpoch ErrorCode = 74
	// ErrUnknownLeaderEpoch: Leader epoch is newer than broker epoch.
	ErrUnknownLeaderEpoch ErrorCode = 75
	// ErrUnsupportedCompressionType: Unsupported compression type.
	ErrUnsupportedCompressionType ErrorCode = 76
	// ErrStaleBrokerEpoch: Broker epoch has changed.
	ErrStaleBrokerEpoch ErrorCode = 77
	// ErrOffsetNotAvailable: Leader high watermark is not caught up.
	ErrOffsetNotAvailable ErrorCode = 78
	// ErrMemberIDRequired: Group member needs a valid member ID.
	ErrMemberIDRequired ErrorCode = 79
	// ErrPreferredLeaderNotAvailable: Preferred leader was not available.
	ErrPreferredLeaderNotAvailable ErrorCode = 80
	// ErrGroupMaxSizeReached: Consumer group has reached maximum size.
	ErrGroupMaxSizeReached ErrorCode = 81
	// ErrFencedInstanceID: Static consumer fenced by other consumer with same group.instance.id.
	ErrFencedInstanceID ErrorCode = 82
	// ErrEligibleLeadersNotAvailable: Eligible partition leaders are not available.
	ErrEligibleLeadersNotAvailable ErrorCode = 83
	// ErrElectionNotNeeded: Leader election not needed for topic partition.
	ErrElectionNotNeeded ErrorCode = 84
	// ErrNoReassignmentInProgress: No partition reassignment is in progress.
	ErrNoReassignmentInProgress ErrorCode = 85
	// ErrGroupSubscribedToTopic: Deleting offsets of a topic while the consumer group is
	// subscribed to it.
	ErrGroupSubscribedToTopic ErrorCode = 86
	// ErrInvalidRecord: Broker failed to validate record.
	ErrInvalidRecord ErrorCode = 87
	// ErrUnstableOffsetCommit: There are unstable offsets that need to be cleared.
	ErrUnstableOffsetCommit ErrorCode = 88
	// ErrThrottlingQuotaExceeded: Throttling quota has been exceeded.
	ErrThrottlingQuotaExceeded ErrorCode = 89
	// ErrProducerFenced: There is a newer producer with the same transactionalId which fences the
	// current one.
	ErrProducerFenced ErrorCode = 90
	// ErrResourceNotFound: Request illegally referred to resource that does not exist.
	ErrResourceNotFound ErrorCode = 91
	// ErrDuplicateResource: Request illegally referred to the same resource twice.
	ErrDuplicateResource ErrorCode = 92
	// ErrUnacceptableCredential: Requested credential would not meet criteria for acceptability.
	ErrUnacceptableCredential ErrorCode = 93
	// ErrInconsistentVoterSet: Indicates that the either the sender or recipient of a voter-only
	// request is not one of the expected voters.
	ErrInconsistentVoterSet ErrorCode = 94
	// ErrInvalidUpdateVersion: Invalid update version.
	ErrInvalidUpdateVersion ErrorCode = 95
	// ErrFeatureUpdateFailed: Unable to update finalized features due to server error.
	ErrFeatureUpdateFailed ErrorCode = 96
	// ErrPrincipalDeserializationFailure: Request principal deserialization failed during
	// forwarding.
	ErrPrincipalDeserializationFailure ErrorCode = 97
	// ErrUnknownTopicID: Unknown topic id.
	ErrUnknownTopicID ErrorCode = 100
	// ErrFencedMemberEpoch: The member epoch is fenced by the group coordinator.
	ErrFencedMemberEpoch ErrorCode = 110
	// ErrUnreleasedInstanceID: The instance ID is still used by another member in the consumer
	// group.
	ErrUnreleasedInstanceID ErrorCode = 111
	// ErrUnsupportedAssignor: The assignor or its version range is not supported by the consumer
	// group.
	ErrUnsupportedAssignor ErrorCode = 112
	// ErrStaleMemberEpoch: The member epoch is stale.
	ErrStaleMemberEpoch ErrorCode = 113
	// ErrUnknownSubscriptionID: Client sent a push telemetry request with an invalid or outdated
	// subscription ID.
	ErrUnknownSubscriptionID ErrorCode = 117
	// ErrTelemetryTooLarge: Client sent a push telemetry request larger than the maximum size the
	// broker will accept.
	ErrTelemetryTooLarge ErrorCode = 118
	// ErrRebootstrapRequired: Client metadata is stale, client should rebootstrap to obtain new
	// metadata.
	ErrRebootstrapRequired ErrorCode = 129
)
