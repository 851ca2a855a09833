// # Settings
//
// What each field of a [Config] does here. It acts, as in sarama or in the way that is said; or it
// is harmless: it changes nothing that a program could see, for the reason given; or it is refused
// by [Config.Validate], as are values out of the range that is given.
//
//	Admin.Retry.Max                            acts
//	Admin.Retry.Backoff                        acts
//	Admin.Timeout                              acts: bounds one try of a call
//	Net.MaxOpenRequests                        harmless: batches of a partition take turns
//	Net.DialTimeout                            acts: bounds the first connection, over all addresses
//	Net.ReadTimeout                            acts: bounds other requests than batches
//	Net.WriteTimeout                           acts
//	Net.ResolveCanonicalBootstrapServers       acts
//	Net.TLS.Enable                             acts
//	Net.TLS.Config                             acts
//	Net.SASL.Enable                            refused: brokers have no authentication yet
//	Net.SASL.Mechanism                         harmless: used with Net.SASL.Enable only
//	Net.SASL.Version                           harmless: used with Net.SASL.Enable only
//	Net.SASL.Handshake                         harmless: used with Net.SASL.Enable only
//	Net.SASL.AuthIdentity                      harmless: used with Net.SASL.Enable only
//	Net.SASL.User                              harmless: used with Net.SASL.Enable only; logged
//	Net.SASL.Password                          harmless: used with Net.SASL.Enable only; logged
//	Net.SASL.SCRAMAuthzID                      harmless: used with Net.SASL.Enable only
//	Net.SASL.SCRAMClientGeneratorFunc          harmless: used with Net.SASL.Enable only
//	Net.SASL.TokenProvider                     harmless: used with Net.SASL.Enable only
//	Net.SASL.GSSAPI                            harmless: used with Net.SASL.Enable only
//	Net.KeepAlive                              acts
//	Net.LocalAddr                              acts
//	Net.Proxy.Enable                           acts: it needs a Dialer
//	Net.Proxy.Dialer                           acts
//	Metadata.Retry.Max                         acts: for a client, and before a consumer tells
//	Metadata.Retry.Backoff                     acts
//	Metadata.Retry.BackoffFunc                 acts
//	Metadata.RefreshFrequency                  acts: how long what is known holds
//	Metadata.Full                              acts: what Client.Topics names
//	Metadata.Timeout                           acts: for making a client, and what a Client asks
//	Metadata.AllowAutoTopicCreation            acts
//	Metadata.SingleFlight                      harmless: first questions at one time share an answer
//	Producer.MaxMessageBytes                   acts: at most 3,670,016
//	Producer.RequiredAcks                      acts: -1, 0 or 1
//	Producer.Timeout                           acts: bounds the wait for an answer
//	Producer.Compression                       acts: CompressionNone is as the topic says
//	Producer.CompressionLevel                  acts: 1 to 9 with gzip, 1 to 22 with zstd
//	Producer.Partitioner                       acts
//	Producer.Idempotent                        acts
//	Producer.Transaction.ID                    refused: brokers have no transactions yet
//	Producer.Transaction.Timeout               harmless: used with Producer.Transaction.ID only
//	Producer.Transaction.Retry.Max             harmless: used with Producer.Transaction.ID only
//	Producer.Transaction.Retry.Backoff         harmless: used with Producer.Transaction.ID only
//	Producer.Transaction.Retry.BackoffFunc     harmless: used with Producer.Transaction.ID only
//	Producer.Return.Successes                  acts
//	Producer.Return.Errors                     acts
//	Producer.Flush.Bytes                       acts: of what waits in the producer
//	Producer.Flush.Messages                    acts: of what waits in the producer
//	Producer.Flush.Frequency                   acts
//	Producer.Flush.MaxMessages                 acts: of a partition's batch
//	Producer.Retry.Max                         acts
//	Producer.Retry.Backoff                     acts
//	Producer.Retry.BackoffFunc                 acts
//	Producer.Retry.MaxBufferLength             harmless: they wait in a buffer with a bound
//	Producer.Retry.MaxBufferBytes              harmless: they wait in a buffer with a bound
//	Producer.Interceptors                      acts
//	Consumer.Group.Session.Timeout             acts: how long a member is waited for; at most 1 h
//	Consumer.Group.Heartbeat.Interval          acts: of the broker; from 100 ms on, at most 5 min
//	Consumer.Group.Rebalance.Strategy          acts
//	Consumer.Group.Rebalance.GroupStrategies   acts
//	Consumer.Group.Rebalance.Timeout           acts: how long to finish with what moves; at most 1 h
//	Consumer.Group.Rebalance.Retry.Max         acts: how often joining is tried again
//	Consumer.Group.Rebalance.Retry.Backoff     acts
//	Consumer.Group.Member.UserData             acts: 174 bytes with the default ClientID
//	Consumer.Group.InstanceId                  acts
//	Consumer.Group.ResetInvalidOffsets         acts
//	Consumer.Retry.Backoff                     acts
//	Consumer.Retry.BackoffFunc                 acts
//	Consumer.Retry.Max                         acts
//	Consumer.Fetch.Min                         harmless: messages are sent as they come
//	Consumer.Fetch.Default                     acts: more than 3,670,016 counts as that; logged
//	Consumer.Fetch.Max                         acts: lowers Default; larger messages come too
//	Consumer.Fetch.MaxBytes                    acts: lowers Default; larger messages come too
//	Consumer.MaxWaitTime                       harmless: messages are sent as they come
//	Consumer.MaxProcessingTime                 harmless: no partition holds up another
//	Consumer.Return.Errors                     acts
//	Consumer.Offsets.CommitInterval            harmless: sarama does not use it; logged
//	Consumer.Offsets.AutoCommit.Enable         acts
//	Consumer.Offsets.AutoCommit.Interval       acts
//	Consumer.Offsets.Initial                   acts
//	Consumer.Offsets.Retention                 harmless: kept as long as the group; logged
//	Consumer.Offsets.Retry.Max                 acts
//	Consumer.IsolationLevel                    harmless: there are no transactions to be read or not
//	Consumer.Interceptors                      acts
//	ClientID                                   acts: at most 249 characters, ASCII
//	RackID                                     harmless: messages are read from the leader
//	ChannelBufferSize                          acts
//	ApiVersionsRequest                         harmless: there are no versions to ask for
//	Version                                    harmless: Validate refuses what it cannot do
//	MetricRegistry                             acts
//
// # Errors
//
// Errors of brokers and of the core, by their reasons, are these here. Each can be compared with
// ==, and has Kafka's number where it is a [KError].
//
//	TOPIC_NOT_FOUND             ErrUnknownTopicOrPartition
//	PARTITION_NOT_FOUND         ErrUnknownTopicOrPartition
//	CLIENT_TOPIC_REPLACED       ErrUnknownTopicOrPartition
//	GROUP_NOT_FOUND             ErrGroupIDNotFound
//	TOPIC_EXISTS                ErrTopicAlreadyExists
//	INVALID_TOPIC_NAME          ErrInvalidTopic
//	INVALID_FIELD               ErrInvalidRequest
//	EXPECTED_OFFSET_MISMATCH    ErrInvalidRequest
//	EXPECTED_VERSION_MISMATCH   ErrInvalidRequest
//	RECORD_TOO_LARGE            ErrMessageSizeTooLarge
//	BATCH_TOO_LARGE             ErrMessageSizeTooLarge
//	CORRUPT_BATCH               ErrInvalidMessage
//	SEQUENCE_GAP                ErrOutOfOrderSequenceNumber
//	PRODUCER_FENCED             ErrProducerFenced
//	MEMBER_FENCED               ErrIllegalGeneration; ErrFencedInstancedId if another member has
//	                            taken Consumer.Group.InstanceId
//	GROUP_NOT_EMPTY             ErrNonEmptyGroup
//	OFFSET_OUT_OF_RANGE         ErrOffsetOutOfRange
//	CLIENT_GAP                  ErrOffsetOutOfRange
//	NOT_LEADER                  ErrNotLeaderForPartition
//	LEADER_CHANGED              ErrNotLeaderForPartition
//	NO_LEADER                   ErrLeaderNotAvailable
//	BROKER_DRAINING             ErrLeaderNotAvailable
//	KEYS_UNREAD                 ErrLeaderNotAvailable
//	NO_QUORUM                   ErrNotEnoughReplicas
//	TIMED_OUT                   ErrRequestTimedOut
//	OVERLOADED                  ErrThrottlingQuotaExceeded
//	TOO_MANY                    ErrThrottlingQuotaExceeded
//	TOO_MANY_KEYS               ErrThrottlingQuotaExceeded
//	STORAGE_FULL                ErrKafkaStorageError
//	CORRUPT_LOG                 ErrKafkaStorageError
//	INTERNAL                    ErrUnknown
//	CLIENT_DISCONNECTED         ErrNetworkException
//	CLIENT_CLOSED               ErrClosedClient
//	CLIENT_PURGED               ErrShuttingDown
//	CLIENT_UNDECODABLE          ErrInvalidMessage
//	CLIENT_UNREACHABLE          ErrOutOfBrokers, which errors.Is finds; the cause is beside it
//
// What has no reason comes from the transport, or from what stands before a broker: UNAVAILABLE is
// ErrOutOfBrokers in the same way, and RESOURCE_EXHAUSTED is ErrThrottlingQuotaExceeded.
package sarama
