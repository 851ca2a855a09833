package kafka

// errorTexts has what codes mean. Programs compare these texts, so that they are librdkafka's.
var errorTexts = map[ErrorCode]string{
	ErrGap:                  "Local: Records are gone that were to be read",
	ErrBadMsg:               "Local: Bad message format",
	ErrBadCompression:       "Local: Invalid compressed data",
	ErrDestroy:              "Local: Broker handle destroyed for termination",
	ErrFail:                 "Local: Communication failure with broker",
	ErrTransport:            "Local: Broker transport failure",
	ErrCritSysResource:      "Local: Critical system resource failure",
	ErrResolve:              "Local: Host resolution failure",
	ErrMsgTimedOut:          "Local: Message timed out",
	ErrPartitionEOF:         "Broker: No more messages",
	ErrUnknownPartition:     "Local: Unknown partition",
	ErrFs:                   "Local: File or filesystem error",
	ErrUnknownTopic:         "Local: Unknown topic",
	ErrAllBrokersDown:       "Local: All broker connections are down",
	ErrInvalidArg:           "Local: Invalid argument or configuration",
	ErrTimedOut:             "Local: Timed out",
	ErrQueueFull:            "Local: Queue full",
	ErrIsrInsuff:            "Local: ISR count insufficient",
	ErrNodeUpdate:           "Local: Broker node update",
	ErrSsl:                  "Local: SSL error",
	ErrWaitCoord:            "Local: Waiting for coordinator",
	ErrUnknownGroup:         "Local: Unknown group",
	ErrInProgress:           "Local: Operation in progress",
	ErrPrevInProgress:       "Local: Previous operation in progress",
	ErrExistingSubscription: "Local: Existing subscription",
	ErrAssignPartitions:     "Local: Assign partitions",
	ErrRevokePartitions:     "Local: Revoke partitions",
	ErrConflict:             "Local: Conflicting use",
	ErrState:                "Local: Erroneous state",
	ErrUnknownProtocol:      "Local: Unknown protocol",
	ErrNotImplemented:       "Local: Not implemented",
	ErrAuthentication:       "Local: Authentication failure",
	ErrNoOffset:             "Local: No offset stored",
	ErrOutdated:             "Local: Outdated",
	ErrTimedOutQueue:        "Local: Timed out in queue",
	ErrUnsupportedFeature:   "Local: Required feature not supported by broker",
	ErrWaitCache:            "Local: Awaiting cache update",
	ErrIntr:                 "Local: Operation interrupted",
	ErrKeySerialization:     "Local: Key serialization error",
	ErrValueSerialization:   "Local: Value serialization error",
	ErrKeyDeserialization:   "Local: Key deserialization error",
	ErrValueDeserialization: "Local: Value deserialization error",
	ErrPartial:              "Local: Partial response",
	ErrReadOnly:             "Local: Read-only object",
	ErrNoent:                "Local: No such entry",
	ErrUnderflow:            "Local: Read underflow",
	ErrInvalidType:          "Local: Invalid type",
	ErrRetry:                "Local: Retry operation",
	ErrPurgeQueue:           "Local: Purged in queue",
	ErrPurgeInflight:        "Local: Purged in flight",
	ErrFatal:                "Local: Fatal error",
	ErrInconsistent:         "Local: Inconsistent state",
	ErrGaplessGuarantee: "Local: " +
		"Gap-less ordering would not be guaranteed if proceeding",
	ErrMaxPollExceeded: "Local: Maximum application poll interval " +
		"(max.poll.interval.ms) exceeded",
	ErrUnknownBroker: "Local: Unknown broker",
	ErrNotConfigured: "Local: Functionality not configured",
	ErrFenced: "Local: " +
		"This instance has been fenced by a newer instance",
	ErrApplication:     "Local: Application generated error",
	ErrAssignmentLost:  "Local: Group partition assignment lost",
	ErrNoop:            "Local: No operation performed",
	ErrAutoOffsetReset: "Local: No offset to automatically reset to",
	ErrLogTruncation:   "Local: Partition log truncation detected",
	ErrInvalidDifferentRecord: "Local: an invalid record in the same batch caused the " +
		"failure of this message too",
	ErrDestroyBroker:          "Local: Broker handle destroyed without termination",
	ErrUnknown:                "Unknown broker error",
	ErrNoError:                "Success",
	ErrOffsetOutOfRange:       "Broker: Offset out of range",
	ErrInvalidMsg:             "Broker: Invalid message",
	ErrUnknownTopicOrPart:     "Broker: Unknown topic or partition",
	ErrInvalidMsgSize:         "Broker: Invalid message size",
	ErrLeaderNotAvailable:     "Broker: Leader not available",
	ErrNotLeaderForPartition:  "Broker: Not leader for partition",
	ErrRequestTimedOut:        "Broker: Request timed out",
	ErrBrokerNotAvailable:     "Broker: Broker not available",
	ErrReplicaNotAvailable:    "Broker: Replica not available",
	ErrMsgSizeTooLarge:        "Broker: Message size too large",
	ErrStaleCtrlEpoch:         "Broker: StaleControllerEpochCode",
	ErrOffsetMetadataTooLarge: "Broker: Offset metadata string too large",
	ErrNetworkException: "Broker: " +
		"Broker disconnected before response received",
	ErrCoordinatorLoadInProgress: "Broker: Coordinator load in progress",
	ErrCoordinatorNotAvailable:   "Broker: Coordinator not available",
	ErrNotCoordinator:            "Broker: Not coordinator",
	ErrTopicException:            "Broker: Invalid topic",
	ErrRecordListTooLarge: "Broker: Message batch larger than configured server segment " +
		"size",
	ErrNotEnoughReplicas: "Broker: Not enough in-sync replicas",
	ErrNotEnoughReplicasAfterAppend: "Broker: Message(s) written to insufficient number of " +
		"in-sync replicas",
	ErrInvalidRequiredAcks:        "Broker: Invalid required acks value",
	ErrIllegalGeneration:          "Broker: Specified group generation id is not valid",
	ErrInconsistentGroupProtocol:  "Broker: Inconsistent group protocol",
	ErrInvalidGroupID:             "Broker: Invalid group.id",
	ErrUnknownMemberID:            "Broker: Unknown member",
	ErrInvalidSessionTimeout:      "Broker: Invalid session timeout",
	ErrRebalanceInProgress:        "Broker: Group rebalance in progress",
	ErrInvalidCommitOffsetSize:    "Broker: Commit offset data size is not valid",
	ErrTopicAuthorizationFailed:   "Broker: Topic authorization failed",
	ErrGroupAuthorizationFailed:   "Broker: Group authorization failed",
	ErrClusterAuthorizationFailed: "Broker: Cluster authorization failed",
	ErrInvalidTimestamp:           "Broker: Invalid timestamp",
	ErrUnsupportedSaslMechanism:   "Broker: Unsupported SASL mechanism",
	ErrIllegalSaslState:           "Broker: Request not valid in current SASL state",
	ErrUnsupportedVersion:         "Broker: API version not supported",
	ErrTopicAlreadyExists:         "Broker: Topic already exists",
	ErrInvalidPartitions:          "Broker: Invalid number of partitions",
	ErrInvalidReplicationFactor:   "Broker: Invalid replication factor",
	ErrInvalidReplicaAssignment:   "Broker: Invalid replica assignment",
	ErrInvalidConfig:              "Broker: Configuration is invalid",
	ErrNotController:              "Broker: Not controller for cluster",
	ErrInvalidRequest:             "Broker: Invalid request",
	ErrUnsupportedForMessageFormat: "Broker: " +
		"Message format on broker does not support request",
	ErrPolicyViolation: "Broker: Policy violation",
	ErrOutOfOrderSequenceNumber: "Broker: " +
		"Broker received an out of order sequence number",
	ErrDuplicateSequenceNumber: "Broker: Broker received a duplicate sequence number",
	ErrInvalidProducerEpoch: "Broker: " +
		"Producer attempted an operation with an old epoch",
	ErrInvalidTxnState: "Broker: Producer attempted a transactional operation in an " +
		"invalid state",
	ErrInvalidProducerIDMapping: "Broker: Producer attempted to use a producer id which is " +
		"not currently assigned to its transactional id",
	ErrInvalidTransactionTimeout: "Broker: Transaction timeout is larger than the maximum " +
		"value allowed by the broker's max.transaction.timeout.ms",
	ErrConcurrentTransactions: "Broker: Producer attempted to update a transaction while " +
		"another concurrent operation on the same transaction was ongoing",
	ErrTransactionCoordinatorFenced: "Broker: Indicates that the transaction coordinator sending " +
		"a WriteTxnMarker is no longer the current coordinator for a given producer",
	ErrTransactionalIDAuthorizationFailed: "Broker: Transactional Id authorization failed",
	ErrSecurityDisabled:                   "Broker: Security features are disabled",
	ErrOperationNotAttempted:              "Broker: Operation not attempted",
	ErrKafkaStorageError: "Broker: " +
		"Disk error when trying to access log file on disk",
	ErrLogDirNotFound: "Broker: The user-specified log directory is not found in " +
		"the broker config",
	ErrSaslAuthenticationFailed:    "Broker: SASL Authentication failed",
	ErrUnknownProducerID:           "Broker: Unknown Producer Id",
	ErrReassignmentInProgress:      "Broker: Partition reassignment is in progress",
	ErrDelegationTokenAuthDisabled: "Broker: Delegation Token feature is not enabled",
	ErrDelegationTokenNotFound:     "Broker: Delegation Token is not found on server",
	ErrDelegationTokenOwnerMismatch: "Broker: " +
		"Specified Principal is not valid Owner/Renewer",
	ErrDelegationTokenRequestNotAllowed: "Broker: Delegation Token requests are not " +
		"allowed on this connection",
	ErrDelegationTokenAuthorizationFailed: "Broker: Delegation Token authorization failed",
	ErrDelegationTokenExpired:             "Broker: Delegation Token is expired",
	ErrInvalidPrincipalType:               "Broker: Supplied principalType is not supported",
	ErrNonEmptyGroup:                      "Broker: The group is not empty",
	ErrGroupIDNotFound:                    "Broker: The group id does not exist",
	ErrFetchSessionIDNotFound:             "Broker: The fetch session ID was not found",
	ErrInvalidFetchSessionEpoch:           "Broker: The fetch session epoch is invalid",
	ErrListenerNotFound:                   "Broker: No matching listener",
	ErrTopicDeletionDisabled:              "Broker: Topic deletion is disabled",
	ErrFencedLeaderEpoch:                  "Broker: Leader epoch is older than broker epoch",
	ErrUnknownLeaderEpoch:                 "Broker: Leader epoch is newer than broker epoch",
	ErrUnsupportedCompressionType:         "Broker: Unsupported compression type",
	ErrStaleBrokerEpoch:                   "Broker: Broker epoch has changed",
	ErrOffsetNotAvailable:                 "Broker: Leader high watermark is not caught up",
	ErrMemberIDRequired:                   "Broker: Group member needs a valid member ID",
	ErrPreferredLeaderNotAvailable:        "Broker: Preferred leader was not available",
	ErrGroupMaxSizeReached:                "Broker: Consumer group has reached maximum size",
	ErrFencedInstanceID: "Broker: Static consumer fenced by other consumer with same " +
		"group.instance.id",
	ErrEligibleLeadersNotAvailable: "Broker: " +
		"Eligible partition leaders are not available",
	ErrElectionNotNeeded: "Broker: " +
		"Leader election not needed for topic partition",
	ErrNoReassignmentInProgress: "Broker: No partition reassignment is in progress",
	ErrGroupSubscribedToTopic: "Broker: Deleting offsets of a topic while the consumer " +
		"group is subscribed to it",
	ErrInvalidRecord: "Broker: Broker failed to validate record",
	ErrUnstableOffsetCommit: "Broker: " +
		"There are unstable offsets that need to be cleared",
	ErrThrottlingQuotaExceeded: "Broker: Throttling quota has been exceeded",
	ErrProducerFenced: "Broker: There is a newer producer with the same " +
		"transactionalId which fences the current one",
	ErrResourceNotFound: "Broker: Request illegally referred to resource that does " +
		"not exist",
	ErrDuplicateResource: "Broker: " +
		"Request illegally referred to the same resource twice",
	ErrUnacceptableCredential: "Broker: Requested credential would not meet criteria for " +
		"acceptability",
	ErrInconsistentVoterSet: "Broker: Indicates that the either the sender or recipient " +
		"of a voter-only request is not one of the expected voters",
	ErrInvalidUpdateVersion: "Broker: Invalid update version",
	ErrFeatureUpdateFailed: "Broker: Unable to update finalized features due to server " +
		"error",
	ErrPrincipalDeserializationFailure: "Broker: Request principal deserialization failed during " +
		"forwarding",
	ErrUnknownTopicID: "Broker: Unknown topic id",
	ErrFencedMemberEpoch: "Broker: " +
		"The member epoch is fenced by the group coordinator",
	ErrUnreleasedInstanceID: "Broker: The instance ID is still used by another member in " +
		"the consumer group",
	ErrUnsupportedAssignor: "Broker: The assignor or its version range is not supported " +
		"by the consumer group",
	ErrStaleMemberEpoch: "Broker: The member epoch is stale",
	ErrUnknownSubscriptionID: "Broker: Client sent a push telemetry request with an " +
		"invalid or outdated subscription ID",
	ErrTelemetryTooLarge: "Broker: Client sent a push telemetry request larger than " +
		"the maximum size the broker will accept",
	ErrRebootstrapRequired: "Broker: Client metadata is stale, client should rebootstrap " +
		"to obtain new metadata",
}
