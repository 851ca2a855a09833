package sarama

import "fmt"

// KError is an error by its number in Kafka's protocol. Errors of a broker that have such a number
// are returned as it, so that they can be compared with ==.
type KError int16

// All numbers of Kafka's that sarama knows, in their order. Those that a broker's errors map to are
// listed in the package's documentation.
const (
	ErrUnknown                            KError = -1
	ErrNoError                            KError = 0
	ErrOffsetOutOfRange                   KError = 1
	ErrInvalidMessage                     KError = 2
	ErrUnknownTopicOrPartition            KError = 3
	ErrInvalidMessageSize                 KError = 4
	ErrLeaderNotAvailable                 KError = 5
	ErrNotLeaderForPartition              KError = 6
	ErrRequestTimedOut                    KError = 7
	ErrBrokerNotAvailable                 KError = 8
	ErrReplicaNotAvailable                KError = 9
	ErrMessageSizeTooLarge                KError = 10
	ErrStaleControllerEpochCode           KError = 11
	ErrOffsetMetadataTooLarge             KError = 12
	ErrNetworkException                   KError = 13
	ErrOffsetsLoadInProgress              KError = 14
	ErrConsumerCoordinatorNotAvailable    KError = 15
	ErrNotCoordinatorForConsumer          KError = 16
	ErrInvalidTopic                       KError = 17
	ErrMessageSetSizeTooLarge             KError = 18
	ErrNotEnoughReplicas                  KError = 19
	ErrNotEnoughReplicasAfterAppend       KError = 20
	ErrInvalidRequiredAcks                KError = 21
	ErrIllegalGeneration                  KError = 22
	ErrInconsistentGroupProtocol          KError = 23
	ErrInvalidGroupId                     KError = 24
	ErrUnknownMemberId                    KError = 25
	ErrInvalidSessionTimeout              KError = 26
	ErrRebalanceInProgress                KError = 27
	ErrInvalidCommitOffsetSize            KError = 28
	ErrTopicAuthorizationFailed           KError = 29
	ErrGroupAuthorizationFailed           KError = 30
	ErrClusterAuthorizationFailed         KError = 31
	ErrInvalidTimestamp                   KError = 32
	ErrUnsupportedSASLMechanism           KError = 33
	ErrIllegalSASLState                   KError = 34
	ErrUnsupportedVersion                 KError = 35
	ErrTopicAlreadyExists                 KError = 36
	ErrInvalidPartitions                  KError = 37
	ErrInvalidReplicationFactor           KError = 38
	ErrInvalidReplicaAssignment           KError = 39
	ErrInvalidConfig                      KError = 40
	ErrNotController                      KError = 41
	ErrInvalidRequest                     KError = 42
	ErrUnsupportedForMessageFormat        KError = 43
	ErrPolicyViolation                    KError = 44
	ErrOutOfOrderSequenceNumber           KError = 45
	ErrDuplicateSequenceNumber            KError = 46
	ErrInvalidProducerEpoch               KError = 47
	ErrInvalidTxnState                    KError = 48
	ErrInvalidProducerIDMapping           KError = 49
	ErrInvalidTransactionTimeout          KError = 50
	ErrConcurrentTransactions             KError = 51
	ErrTransactionCoordinatorFenced       KError = 52
	ErrTransactionalIDAuthorizationFailed KError = 53
	ErrSecurityDisabled                   KError = 54
	ErrOperationNotAttempted              KError = 55
	ErrKafkaStorageError                  KError = 56
	ErrLogDirNotFound                     KError = 57
	ErrSASLAuthenticationFailed           KError = 58
	ErrUnknownProducerID                  KError = 59
	ErrReassignmentInProgress             KError = 60
	ErrDelegationTokenAuthDisabled        KError = 61
	ErrDelegationTokenNotFound            KError = 62
	ErrDelegationTokenOwnerMismatch       KError = 63
	ErrDelegationTokenRequestNotAllowed   KError = 64
	ErrDelegationTokenAuthorizationFailed KError = 65
	ErrDelegationTokenExpired             KError = 66
	ErrInvalidPrincipalType               KError = 67
	ErrNonEmptyGroup                      KError = 68
	ErrGroupIDNotFound                    KError = 69
	ErrFetchSessionIDNotFound             KError = 70
	ErrInvalidFetchSessionEpoch           KError = 71
	ErrListenerNotFound                   KError = 72
	ErrTopicDeletionDisabled              KError = 73
	ErrFencedLeaderEpoch                  KError = 74
	ErrUnknownLeaderEpoch                 KError = 75
	ErrUnsupportedCompressionType         KError = 76
	ErrStaleBrokerEpoch                   KError = 77
	ErrOffsetNotAvailable                 KError = 78
	ErrMemberIdRequired                   KError = 79
	ErrPreferredLeaderNotAvailable        KError = 80
	ErrGroupMaxSizeReached                KError = 81
	ErrFencedInstancedId                  KError = 82
	ErrEligibleLeadersNotAvailable        KError = 83
	ErrElectionNotNeeded                  KError = 84
	ErrNoReassignmentInProgress           KError = 85
	ErrGroupSubscribedToTopic             KError = 86
	ErrInvalidRecord                      KError = 87
	ErrUnstableOffsetCommit               KError = 88
	ErrThrottlingQuotaExceeded            KError = 89
	ErrProducerFenced                     KError = 90
	ErrInvalidUpdateVersion               KError = 95
)

var kerrorTexts = map[KError]string{
	ErrUnknown:                            "the broker failed in a way that it did not expect",
	ErrNoError:                            "no error",
	ErrOffsetOutOfRange:                   "the offset is outside of what the partition holds",
	ErrInvalidMessage:                     "the message does not hold together",
	ErrUnknownTopicOrPartition:            "the topic or partition does not exist",
	ErrInvalidMessageSize:                 "the size of a fetch is not valid",
	ErrLeaderNotAvailable:                 "the partition has no leader at present",
	ErrNotLeaderForPartition:              "the broker does not lead the partition, or not any more",
	ErrRequestTimedOut:                    "the request took too long",
	ErrBrokerNotAvailable:                 "the broker is not available",
	ErrReplicaNotAvailable:                "a replica is not available",
	ErrMessageSizeTooLarge:                "the message is larger than allowed",
	ErrStaleControllerEpochCode:           "the controller has been replaced",
	ErrOffsetMetadataTooLarge:             "the metadata of a committed offset is larger than allowed",
	ErrNetworkException:                   "the connection broke before the answer came",
	ErrOffsetsLoadInProgress:              "the coordinator is still loading",
	ErrConsumerCoordinatorNotAvailable:    "the group has no coordinator at present",
	ErrNotCoordinatorForConsumer:          "the broker does not coordinate the group",
	ErrInvalidTopic:                       "the topic name is not valid",
	ErrMessageSetSizeTooLarge:             "the batch is larger than allowed",
	ErrNotEnoughReplicas:                  "too few replicas are there for the append",
	ErrNotEnoughReplicasAfterAppend:       "too few replicas have the append",
	ErrInvalidRequiredAcks:                "the required acks are not -1, 0 or 1",
	ErrIllegalGeneration:                  "the group has gone on to another generation",
	ErrInconsistentGroupProtocol:          "the member has no protocol that the others know",
	ErrInvalidGroupId:                     "the name of the group is not valid",
	ErrUnknownMemberId:                    "the group does not know the member",
	ErrInvalidSessionTimeout:              "the session timeout is outside of what is allowed",
	ErrRebalanceInProgress:                "the partitions of the group are moving: join again",
	ErrInvalidCommitOffsetSize:            "the commit is larger than allowed",
	ErrTopicAuthorizationFailed:           "not allowed for this topic",
	ErrGroupAuthorizationFailed:           "not allowed for this group",
	ErrClusterAuthorizationFailed:         "not allowed for this cluster",
	ErrInvalidTimestamp:                   "the timestamp is outside of what is allowed",
	ErrUnsupportedSASLMechanism:           "the broker does not know this way to authenticate",
	ErrIllegalSASLState:                   "the request does not fit the state of the authentication",
	ErrUnsupportedVersion:                 "the broker does not know the request",
	ErrTopicAlreadyExists:                 "the topic exists",
	ErrInvalidPartitions:                  "the number of partitions is not valid",
	ErrInvalidReplicationFactor:           "the replication factor is not valid",
	ErrInvalidReplicaAssignment:           "the assignment of replicas is not valid",
	ErrInvalidConfig:                      "a setting is not valid",
	ErrNotController:                      "the broker is not the controller",
	ErrInvalidRequest:                     "the request is not valid",
	ErrUnsupportedForMessageFormat:        "the format of the messages does not allow it",
	ErrPolicyViolation:                    "a policy does not allow it",
	ErrOutOfOrderSequenceNumber:           "a batch before this one is missing",
	ErrDuplicateSequenceNumber:            "the batch came before",
	ErrInvalidProducerEpoch:               "the producer has been replaced by a newer one",
	ErrInvalidTxnState:                    "the transaction is not in a state that allows it",
	ErrInvalidProducerIDMapping:           "the producer id is not that of the transactional id",
	ErrInvalidTransactionTimeout:          "the transaction timeout is larger than allowed",
	ErrConcurrentTransactions:             "another operation on the transaction is under way",
	ErrTransactionCoordinatorFenced:       "the coordinator of the transaction has been replaced",
	ErrTransactionalIDAuthorizationFailed: "not allowed for this transactional id",
	ErrSecurityDisabled:                   "security is off",
	ErrOperationNotAttempted:              "the broker did not try it",
	ErrKafkaStorageError:                  "the broker's storage failed or is full",
	ErrLogDirNotFound:                     "the log directory does not exist",
	ErrSASLAuthenticationFailed:           "authentication failed",
	ErrUnknownProducerID:                  "the broker does not know the producer id",
	ErrReassignmentInProgress:             "replicas of the partition are being moved",
	ErrDelegationTokenAuthDisabled:        "delegation tokens are off",
	ErrDelegationTokenNotFound:            "the delegation token does not exist",
	ErrDelegationTokenOwnerMismatch:       "the delegation token belongs to somebody else",
	ErrDelegationTokenRequestNotAllowed:   "delegation tokens are not to be had over this connection",
	ErrDelegationTokenAuthorizationFailed: "not allowed for this delegation token",
	ErrDelegationTokenExpired:             "the delegation token has expired",
	ErrInvalidPrincipalType:               "the kind of principal is not valid",
	ErrNonEmptyGroup:                      "the group has members",
	ErrGroupIDNotFound:                    "the group does not exist",
	ErrFetchSessionIDNotFound:             "the fetch session does not exist",
	ErrInvalidFetchSessionEpoch:           "the epoch of the fetch session is not valid",
	ErrListenerNotFound:                   "the leader has no listener of that name",
	ErrTopicDeletionDisabled:              "topics cannot be deleted",
	ErrFencedLeaderEpoch:                  "the request is of a leader that has been replaced",
	ErrUnknownLeaderEpoch:                 "the request is of a leader that is not known yet",
	ErrUnsupportedCompressionType:         "the codec is not known",
	ErrStaleBrokerEpoch:                   "the broker has been started again",
	ErrOffsetNotAvailable:                 "the leader is too new to say what the offset is",
	ErrMemberIdRequired:                   "the member needs an id first",
	ErrPreferredLeaderNotAvailable:        "the preferred leader is not available",
	ErrGroupMaxSizeReached:                "the group has as many members as it may",
	ErrFencedInstancedId:                  "another member has taken the instance id",
	ErrEligibleLeadersNotAvailable:        "no replica that could lead is available",
	ErrElectionNotNeeded:                  "the partition needs no other leader",
	ErrNoReassignmentInProgress:           "no replicas of the partition are being moved",
	ErrGroupSubscribedToTopic:             "the group reads the topic",
	ErrInvalidRecord:                      "the broker does not accept the record",
	ErrUnstableOffsetCommit:               "offsets are being committed by a transaction",
	ErrThrottlingQuotaExceeded:            "the broker has no room for the request at present",
	ErrProducerFenced:                     "another producer has taken the name",
	ErrInvalidUpdateVersion:               "the version of the update is not valid",
}

// Error describes the error.
func (err KError) Error() string {
	if text, ok := kerrorTexts[err]; ok {
		return "kafka server: " + text
	}
	return fmt.Sprintf("kafka server: error %d", int16(err))
}
