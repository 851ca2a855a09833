package sarama

import "time"

// The types of this file stand for methods of [ClusterAdmin] and [TransactionClusterAdmin] that
// name them, which return ErrUnsupportedVersion.

// DescribeLogDirsResponseDirMetadata is a log directory of a broker.
type DescribeLogDirsResponseDirMetadata struct {
	// ErrorCode is ErrNoError when it worked.
	ErrorCode KError
	// Path is where it is.
	Path string
	// Topics are the topics in it.
	Topics []DescribeLogDirsResponseTopic
	// TotalBytes and UsableBytes are those of its volume.
	TotalBytes  int64
	UsableBytes int64
}

// DescribeLogDirsResponseTopic is a topic in a log directory.
type DescribeLogDirsResponseTopic struct {
	// Topic is its name.
	Topic string
	// Partitions are those that are there.
	Partitions []DescribeLogDirsResponsePartition
}

// DescribeLogDirsResponsePartition is a partition in a log directory.
type DescribeLogDirsResponsePartition struct {
	// PartitionID is its number.
	PartitionID int32
	// Size is that of its segments, in bytes.
	Size int64
	// OffsetLag is how many offsets it lacks.
	OffsetLag int64
	// IsTemporary is whether it is on its way to another directory.
	IsTemporary bool
}

// ScramMechanismType is a mechanism of SCRAM.
type ScramMechanismType int8

// Mechanisms.
const (
	SCRAM_MECHANISM_UNKNOWN ScramMechanismType = iota
	SCRAM_MECHANISM_SHA_256
	SCRAM_MECHANISM_SHA_512
)

// String returns SCRAM-SHA-256, SCRAM-SHA-512 or Unknown.
func (s ScramMechanismType) String() string {
	switch s {
	case SCRAM_MECHANISM_SHA_256:
		return SASLTypeSCRAMSHA256
	case SCRAM_MECHANISM_SHA_512:
		return SASLTypeSCRAMSHA512
	}
	return "Unknown"
}

// UserScramCredentialsResponseInfo is how a user's password is kept.
type UserScramCredentialsResponseInfo struct {
	// Mechanism is the mechanism, and Iterations how often it is applied.
	Mechanism  ScramMechanismType
	Iterations int32
}

// DescribeUserScramCredentialsResult describes a user.
type DescribeUserScramCredentialsResult struct {
	// User is the name.
	User string
	// ErrorCode is ErrNoError when it worked, and ErrorMessage says more when it did not.
	ErrorCode    KError
	ErrorMessage *string
	// CredentialInfos say how the password is kept.
	CredentialInfos []*UserScramCredentialsResponseInfo
}

// AlterUserScramCredentialsDelete is a user's credential to delete.
type AlterUserScramCredentialsDelete struct {
	// Name is the user, and Mechanism which credential.
	Name      string
	Mechanism ScramMechanismType
}

// AlterUserScramCredentialsUpsert is a user's credential to set.
type AlterUserScramCredentialsUpsert struct {
	// Name is the user.
	Name string
	// Mechanism, Iterations and Salt say how the password is kept.
	Mechanism  ScramMechanismType
	Iterations int32
	Salt       []byte
	// Password is never sent.
	Password []byte
}

// AlterUserScramCredentialsResult is what became of a change.
type AlterUserScramCredentialsResult struct {
	// User is the name.
	User string
	// ErrorCode is ErrNoError when it worked, and ErrorMessage says more when it did not.
	ErrorCode    KError
	ErrorMessage *string
}

// FeatureUpdate is a feature of the cluster to change.
type FeatureUpdate struct {
	// Feature is its name.
	Feature string
	// MaxVersionLevel is its new level; below 1 it is deleted.
	MaxVersionLevel int16
	// AllowDowngrade lets the level fall.
	AllowDowngrade bool
}

// UpdatableFeatureResult is what became of a change.
type UpdatableFeatureResult struct {
	// Feature is its name.
	Feature string
	// ErrorCode is ErrNoError when it worked, and ErrorMessage says more when it did not.
	ErrorCode    KError
	ErrorMessage *string
}

// QuotaEntityType is whom a quota is for.
type QuotaEntityType string

// Whom a quota is for.
const (
	QuotaEntityUser     QuotaEntityType = "user"
	QuotaEntityClientID QuotaEntityType = "client-id"
	QuotaEntityIP       QuotaEntityType = "ip"
)

// QuotaMatchType is how a name is compared.
type QuotaMatchType int

// Ways to compare names.
const (
	QuotaMatchExact QuotaMatchType = iota
	QuotaMatchDefault
	QuotaMatchAny
)

// QuotaFilterComponent says which quotas are meant.
type QuotaFilterComponent struct {
	// EntityType says whose, compared by MatchType with Match.
	EntityType QuotaEntityType
	MatchType  QuotaMatchType
	Match      string
}

// QuotaEntityComponent says whom a quota is for.
type QuotaEntityComponent struct {
	// EntityType says whose, compared by MatchType with Name.
	EntityType QuotaEntityType
	MatchType  QuotaMatchType
	Name       string
}

// DescribeClientQuotasEntry are quotas of somebody.
type DescribeClientQuotasEntry struct {
	// Entity says whose.
	Entity []QuotaEntityComponent
	// Values are the quotas by name.
	Values map[string]float64
}

// ClientQuotasOp is a change of a quota.
type ClientQuotasOp struct {
	// Key is its name, and Value its new value.
	Key   string
	Value float64
	// Remove takes it away instead.
	Remove bool
}

// DescribeProducersResponsePartition are the producers of a partition.
type DescribeProducersResponsePartition struct {
	// PartitionIndex is its number.
	PartitionIndex int32
	// ErrorCode is ErrNoError when it worked, and ErrorMessage says more when it did not.
	ErrorCode    KError
	ErrorMessage *string
	// ActiveProducers are the producers.
	ActiveProducers []ProducerState
}

// ProducerState is what is known of a producer.
type ProducerState struct {
	// ProducerID and ProducerEpoch tell it from others.
	ProducerID    int64
	ProducerEpoch int32
	// LastSequence is its last number, -1 for none, and LastTimestamp the last time, -1 for none.
	LastSequence  int32
	LastTimestamp int64
	// CoordinatorEpoch is that of its transactions.
	CoordinatorEpoch int32
	// CurrentTxnStartOffset is where its transaction starts, -1 for none.
	CurrentTxnStartOffset int64
}

// States of transactions.
const (
	TransactionStateEmpty             = "Empty"
	TransactionStateOngoing           = "Ongoing"
	TransactionStatePrepareCommit     = "PrepareCommit"
	TransactionStatePrepareAbort      = "PrepareAbort"
	TransactionStateCompleteCommit    = "CompleteCommit"
	TransactionStateCompleteAbort     = "CompleteAbort"
	TransactionStateDead              = "Dead"
	TransactionStatePrepareEpochFence = "PrepareEpochFence"
)

// TransactionState describes a transaction.
type TransactionState struct {
	// ErrorCode is ErrNoError when it worked.
	ErrorCode KError
	// TransactionalID is its id, and TransactionState how far it is.
	TransactionalID  string
	TransactionState string
	// TransactionTimeout is how long it may take, from TransactionStartTime in milliseconds.
	TransactionTimeout   time.Duration
	TransactionStartTime int64
	// ProducerID and ProducerEpoch are its producer's.
	ProducerID    int64
	ProducerEpoch int16
	// Topics are the partitions in it.
	Topics []DescribeTransactionsResponseTopic
}

// DescribeTransactionsResponseTopic are partitions in a transaction.
type DescribeTransactionsResponseTopic struct {
	// Topic is the topic's name, and Partitions are their numbers.
	Topic      string
	Partitions []int32
}

// ListTransactionsResponseTransactionState is a transaction in a list.
type ListTransactionsResponseTransactionState struct {
	// TransactionalID is its id, and ProducerID its producer's.
	TransactionalID string
	ProducerID      int64
	// TransactionState is how far it is.
	TransactionState string
}
