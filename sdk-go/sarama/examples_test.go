package sarama_test

import (
	"log"
	"testing"

	"github.com/ropewalk/ropewalk/sdk-go/internal/examplecheck"
	"github.com/ropewalk/ropewalk/sdk-go/internal/testserver"
	"github.com/ropewalk/ropewalk/sdk-go/sarama"
)

// startServer stands in for the broker at localhost:9092.
func startServer() *testserver.Server {
	server, err := testserver.New()
	if err != nil {
		log.Fatal(err)
	}
	return server
}

// exampleAddrs are the addresses of a broker in memory, for an Example.
func exampleAddrs() (addrs []string, stop func()) {
	server := startServer()
	return []string{server.Address()}, server.Stop
}

// exampleBroker is exampleAddrs with a real broker, for what the one in memory does not do.
func exampleBroker() (addrs []string, stop func()) {
	address, stop := examplecheck.Broker()
	return []string{address}, stop
}

// produceTexts sends texts to a topic, which there is afterwards.
func produceTexts(addrs []string, topic string, texts ...string) {
	producer, err := sarama.NewSyncProducer(addrs, nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, value := range texts {
		if _, _, err := producer.SendMessage(text(topic, value)); err != nil {
			log.Fatal(err)
		}
	}
	if err := producer.Close(); err != nil {
		log.Fatal(err)
	}
}

func TestEachTypeHasAnExample(t *testing.T) {
	examplecheck.Run(t, "github.com/ropewalk/ropewalk/sdk-go/sarama",
		examplecheck.Allowed{
			Names: "Acl* MatchingAcl Resource ResourceAcls DescribeLogDirs* *Scram* Quota* " +
				"DescribeClientQuotasEntry ClientQuotasOp FeatureUpdate UpdatableFeatureResult",
			Reason: "has no meaning here: its calls return ErrUnsupportedVersion",
		},
		examplecheck.Allowed{
			Names: "TransactionClusterAdmin TransactionState *TransactionState " +
				"DescribeTransactionsResponseTopic DescribeProducersResponsePartition ProducerState " +
				"ProducerTxnStatusFlag PartitionOffsetMetadata ConsumerGroupMetadata " +
				"InitProducerIDResponse",
			Reason: "there are no transactions: its calls return errors",
		},
		examplecheck.Allowed{
			Names:  "AccessToken* SASLMechanism SCRAMClient GSSAPIConfig BuildSpnFunc",
			Reason: "there is no authentication: Validate refuses Net.SASL.Enable",
		},
		examplecheck.Allowed{
			Names:  "Packet*Error",
			Reason: "not returned here: it stays so that programs compile which look for it",
		},
		examplecheck.Allowed{
			Names: "ConfigResourceType ConfigSource ConfigType ElectionType " +
				"IncrementalAlterConfigsOperation",
			Reason: "an enumeration: its values stand in the fields of ConfigResource and its like",
		},
		examplecheck.Allowed{
			Names:  "ConfigEntry ConfigSynonym ConfigResourceResult",
			Reason: "parts of what ExampleConfigResource does",
		},
		examplecheck.Allowed{
			Names:  "AlterConfigError DescribeConfigError",
			Reason: "as TopicError, of other calls: ExampleTopicError",
		},
		examplecheck.Allowed{
			Names: "AlterConsumerGroupOffsetsOptions OffsetCommitResponse OffsetFetchResponse* " +
				"GroupMemberDescription LeaveGroupResponse MemberResponse",
			Reason: "parts of what a ClusterAdmin does with groups: ExampleGroupDescription",
		},
		examplecheck.Allowed{
			Names:  "ListOffsetsOptions OffsetResult",
			Reason: "what ListOffsets takes and returns: ExampleClusterAdmin_ListOffsets",
		},
		examplecheck.Allowed{
			Names:  "PartitionReplicaReassignmentsStatus PartitionResult",
			Reason: "results by the partition, with numbers alone",
		},
		examplecheck.Allowed{Names: "Uuid", Reason: "the id of a topic in a TopicMetadata"},
	)
}
