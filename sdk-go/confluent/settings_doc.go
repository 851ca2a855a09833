// # Settings
//
// These settings act. C: of consumers, P: of producers; the others are of both, and of
// administrators. A default is in brackets. A setting of another role is logged, and does nothing.
//
//	acks (P)
//	    0, 1 or all (-1): in a broker's memory, on the leader's disk, on a majority's
//	    (all)
//	allow.auto.create.topics (C)
//	    topics that are named are created by that, where brokers allow it (false)
//	auto.commit.interval.ms (C)
//	    how often; 0: only when partitions go, and by Close (5000)
//	auto.offset.reset (C)
//	    earliest or latest (and their other names): where a partition begins of which
//	    nothing is committed, or that ends before where it was to be read; see "Gaps"
//	    (latest)
//	batch.num.messages (P)
//	    the most messages of a batch (10000)
//	batch.size (P)
//	    the most bytes of a batch, up to 4128768, which a larger number means too
//	    (1000000)
//	bootstrap.servers
//	    the brokers to begin with, HOST or HOST:PORT (9092), with commas; required
//	broker.address.family
//	    any, v4 or v6: which addresses of a broker are used (any)
//	client.id
//	    what the client calls itself (rdkafka)
//	compression.codec (P)
//	    the same as compression.type
//	compression.level (P)
//	    1 to 9 for gzip, 1 to 22 for zstd; -1: the codec's own (-1)
//	compression.type (P)
//	    none, gzip, snappy, lz4 or zstd; unset: as the topic says
//	debug
//	    details are logged too, whichever contexts are named
//	delivery.timeout.ms (P)
//	    how long a message is tried for, and as long before that for its topic to be
//	    found; 0: for ever (300000)
//	enable.auto.commit (C)
//	    stored offsets are committed by themselves (true)
//	enable.auto.offset.store (C)
//	    a message that is handed out is stored as read (true)
//	enable.idempotence (P)
//	    true and unset: a message is in the log once, also when it is sent again; false:
//	    it may be there twice
//	enable.partition.eof (C)
//	    tell when a partition has been read to its end, as PartitionEOF (false)
//	enable.ssl.certificate.verification
//	    check the certificates of brokers (true)
//	fetch.max.bytes (C)
//	    as max.partition.fetch.bytes: the lesser counts (52428800)
//	fetch.message.max.bytes (C)
//	    the same as max.partition.fetch.bytes
//	fetch.wait.max.ms (C)
//	    any: a broker sends what there is at once, and waits for nothing
//	go.application.rebalance.enable (C)
//	    tell of rebalances as events; see Consumer (false)
//	go.batch.producer (P)
//	    either: a producer works in batches, with times and headers (false)
//	go.delivery.report.fields (P)
//	    what reports have: "all", "none", or some of key,value,headers ("key,value")
//	go.delivery.reports (P)
//	    reports go to Events() where a message has no channel of its own (true)
//	go.events.channel.enable (C)
//	    events come over Events() instead of Poll (false)
//	go.events.channel.size
//	    the size of Events(), up to 10000000 (a producer's 1000000, a consumer's 1000)
//	go.logs.channel
//	    a channel of the program's own for them
//	go.logs.channel.enable
//	    logs go to Logs() instead of slog.Default() (false)
//	go.produce.channel.size (P)
//	    the size of ProduceChannel(), up to 10000000 (1000000)
//	group.id (C)
//	    the consumer group; required
//	group.instance.id (C)
//	    a name by which the member is known again when it is restarted: Close does not
//	    leave then
//	group.protocol (C)
//	    classic or consumer: the latter is cooperative (classic)
//	group.remote.assignor (C)
//	    uniform or range, with group.protocol=consumer
//	heartbeat.interval.ms (C)
//	    how often a broker shows that it is there, from 100 (5000)
//	isolation.level (C)
//	    either: there are no transactions, so that both read the same
//	linger.ms (P)
//	    how long messages wait for others to be sent with; unset: not at all
//	log.queue
//	    see go.logs.channel.enable, which decides
//	log_level
//	    what is logged, as in syslog: 3 errors, 4 warnings, 6 all but details (6)
//	max.in.flight (P)
//	    any: one batch of a partition is under way at a time, so that order is kept
//	    always
//	max.in.flight.requests.per.connection (P)
//	    the same as max.in.flight
//	max.partition.fetch.bytes (C)
//	    the most bytes that a broker sends of a partition at once, up to 3670016, which a
//	    larger number means too (1048576)
//	max.poll.interval.ms (C)
//	    how long a partition that is to move is left to a consumer that does not poll; it
//	    is not put out of the group (300000; 3600000 is the most)
//	message.max.bytes (P)
//	    the most bytes of a message, else ErrMsgSizeTooLarge (1000000); topics have a
//	    limit too
//	message.send.max.retries (P)
//	    the same as retries
//	message.timeout.ms (P)
//	    the same as delivery.timeout.ms
//	metadata.broker.list
//	    the same as bootstrap.servers
//	metadata.max.age.ms
//	    the same as topic.metadata.refresh.interval.ms
//	partition.assignment.strategy (C)
//	    range, roundrobin or cooperative-sticky; of several the first is asked for
//	    (range,roundrobin)
//	partitioner (P)
//	    random, consistent, consistent_random, murmur2, murmur2_random, fnv1a or
//	    fnv1a_random, with librdkafka's hashes (consistent_random)
//	queue.buffering.max.kbytes (P)
//	    how many KiB they may have (1048576)
//	queue.buffering.max.messages (P)
//	    how many messages may be unreported before Produce says ErrQueueFull; 0: any
//	    (100000)
//	queue.buffering.max.ms (P)
//	    the same as linger.ms
//	reconnect.backoff.max.ms
//	    what that pause doubles up to (10000)
//	reconnect.backoff.ms
//	    the pause before a client, and the stream of a partition, connects again (100)
//	request.required.acks (P)
//	    the same as acks
//	request.timeout.ms (P)
//	    how long the answer to a batch is waited for (30000)
//	retries (P)
//	    how often a batch is sent again (as often as delivery.timeout.ms allows)
//	retry.backoff.max.ms
//	    what that pause doubles up to (1000)
//	retry.backoff.ms
//	    the pause before a producer sends a batch again (100)
//	security.protocol
//	    plaintext or ssl (plaintext)
//	session.timeout.ms (C)
//	    how long the group waits for a member whose connection broke. It reconnects
//	    within Poll, so that a program which does not poll has this time (45000)
//	socket.connection.setup.timeout.ms
//	    how long a connection may take to be made (30000)
//	socket.keepalive.enable
//	    TCP keep-alives; gRPC's own are always there (false)
//	socket.nagle.disable
//	    send small packets at once (true)
//	socket.receive.buffer.bytes
//	    the receive buffer of connections; 0: the system's (0)
//	socket.send.buffer.bytes
//	    the send buffer of connections; 0: the system's (0)
//	socket.timeout.ms
//	    how long a call may take, with its retries (60000)
//	ssl.ca.location
//	    a file or folder of the authorities that are trusted (the system's)
//	ssl.ca.pem
//	    those authorities themselves
//	ssl.certificate.location
//	    the file of the client's certificate
//	ssl.certificate.pem
//	    the certificate itself
//	ssl.endpoint.identification.algorithm
//	    https or none: whether they must be for the broker's name (https)
//	ssl.key.location
//	    the file of its key, which is not encrypted
//	ssl.key.pem
//	    the key itself
//	sticky.partitioning.linger.ms (P)
//	    how long messages without a key stay on a partition; 0: each is placed anew (10,
//	    or twice linger.ms)
//	topic.metadata.refresh.interval.ms
//	    how long topics and brokers are taken as known (300000)
//
// These have no meaning here, and are refused by name; where a value is shown, that one is
// accepted, as it asks for nothing. Any other name is refused too, with the nearest one that is
// known.
//
//	api.version.fallback.ms=0
//	    a broker of another kind than Ropewalk's cannot be spoken to
//	api.version.request=true
//	    a broker of another kind than Ropewalk's cannot be spoken to
//	api.version.request.timeout.ms=10000
//	    a broker of another kind than Ropewalk's cannot be spoken to
//	auto.commit.enable=true
//	    brokers keep committed offsets
//	background_event_cb
//	    it can be set in C alone
//	broker.address.ttl=1000
//	    gRPC decides when addresses are resolved, and connections closed
//	broker.version.fallback=0.10.0
//	    a broker of another kind than Ropewalk's cannot be spoken to
//	builtin.features
//	    nothing is compiled in, or loaded, as librdkafka does it
//	check.crcs=false
//	    brokers check what they read from their disks, always
//	client.dns.lookup=use_all_dns_ips
//	    gRPC decides when addresses are resolved, and connections closed
//	client.rack
//	    brokers do not choose replicas by rack for readers
//	closesocket_cb
//	    it can be set in C alone
//	connect_cb
//	    it can be set in C alone
//	connections.max.idle.ms=0
//	    gRPC decides when addresses are resolved, and connections closed
//	consume.callback.max.messages=0
//	    brokers keep committed offsets
//	consume_cb
//	    it can be set in C alone
//	coordinator.query.interval.ms=600000
//	    the client learns of new leaders from the answers of brokers
//	default_topic_conf
//	    it can be set in C alone
//	delivery.report.only.error=false
//	    reports come for all messages: look at TopicPartition.Error
//	dr_cb
//	    it can be set in C alone
//	dr_msg_cb
//	    it can be set in C alone
//	enable.gapless.guarantee=false
//	    there are no transactions
//	enable.metrics.push=false
//	    clients push no metrics
//	enable.random.seed=true
//	    Go has no threads to name, to seed or to end
//	enable.sasl.oauthbearer.unsecure.jwt=false
//	    there is no SASL: leave it out, or have a proxy in front of the brokers
//	enabled_events=0
//	    it can be set in C alone
//	error_cb
//	    it can be set in C alone
//	fetch.error.backoff.ms=500
//	    what is read ahead is bounded by the core: some 4 MiB, and fetches under way
//	fetch.min.bytes=1
//	    a broker sends what there is at once
//	fetch.queue.backoff.ms=1000
//	    what is read ahead is bounded by the core: some 4 MiB, and fetches under way
//	group.protocol.type=consumer
//	    only type consumer is there
//	https.ca.location
//	    there is no SASL: leave it out, or have a proxy in front of the brokers
//	https.ca.pem
//	    there is no SASL: leave it out, or have a proxy in front of the brokers
//	interceptors
//	    nothing is compiled in, or loaded, as librdkafka does it
//	internal.termination.signal=0
//	    Go has no threads to name, to seed or to end
//	log.connection.close=true
//	    log_level says what is logged, for connections too
//	log.thread.name=true
//	    Go has no threads to name, to seed or to end
//	log_cb
//	    it can be set in C alone
//	message.copy.max.bytes=65535
//	    a message is never copied but once, by Produce
//	metadata.recovery.rebootstrap.trigger.ms=300000
//	    the client learns of new leaders from the answers of brokers
//	metadata.recovery.strategy=rebootstrap
//	    the client learns of new leaders from the answers of brokers
//	msg_order_cmp
//	    it can be set in C alone
//	oauthbearer_token_refresh_cb
//	    it can be set in C alone
//	offset.store.method=broker
//	    brokers keep committed offsets
//	offset.store.path=.
//	    brokers keep committed offsets
//	offset.store.sync.interval.ms=-1
//	    brokers keep committed offsets
//	offset_commit_cb
//	    it can be set in C alone
//	opaque
//	    it can be set in C alone
//	open_cb
//	    it can be set in C alone
//	partitioner_cb
//	    it can be set in C alone
//	plugin.library.paths
//	    nothing is compiled in, or loaded, as librdkafka does it
//	produce.offset.report=true
//	    offsets are reported always
//	queue.buffering.backpressure.threshold=1
//	    messages of a partition are sent in order
//	queued.max.messages.kbytes=65536
//	    what is read ahead is bounded by the core: some 4 MiB, and fetches under way
//	queued.min.messages=100000
//	    what is read ahead is bounded by the core: some 4 MiB, and fetches under way
//	queuing.strategy=fifo
//	    messages of a partition are sent in order
//	rebalance_cb
//	    it can be set in C alone
//	receive.message.max.bytes=100000000
//	    a broker's messages are below 4 MiB
//	reconnect.backoff.jitter.ms=0
//	    gRPC decides when addresses are resolved, and connections closed
//	resolve_cb
//	    it can be set in C alone
//	sasl.kerberos.keytab
//	    there is no SASL: leave it out, or have a proxy in front of the brokers
//	sasl.kerberos.kinit.cmd
//	    there is no SASL: leave it out, or have a proxy in front of the brokers
//	sasl.kerberos.min.time.before.relogin=60000
//	    there is no SASL: leave it out, or have a proxy in front of the brokers
//	sasl.kerberos.principal=kafkaclient
//	    there is no SASL: leave it out, or have a proxy in front of the brokers
//	sasl.kerberos.service.name=kafka
//	    there is no SASL: leave it out, or have a proxy in front of the brokers
//	sasl.mechanism=GSSAPI
//	    there is no SASL: leave it out, or have a proxy in front of the brokers
//	sasl.mechanisms=GSSAPI
//	    there is no SASL: leave it out, or have a proxy in front of the brokers
//	sasl.oauthbearer.assertion.algorithm=RS256
//	    there is no SASL: leave it out, or have a proxy in front of the brokers
//	sasl.oauthbearer.assertion.claim.aud
//	    there is no SASL: leave it out, or have a proxy in front of the brokers
//	sasl.oauthbearer.assertion.claim.exp.seconds=300
//	    there is no SASL: leave it out, or have a proxy in front of the brokers
//	sasl.oauthbearer.assertion.claim.iss
//	    there is no SASL: leave it out, or have a proxy in front of the brokers
//	sasl.oauthbearer.assertion.claim.jti.include=false
//	    there is no SASL: leave it out, or have a proxy in front of the brokers
//	sasl.oauthbearer.assertion.claim.nbf.seconds=60
//	    there is no SASL: leave it out, or have a proxy in front of the brokers
//	sasl.oauthbearer.assertion.claim.sub
//	    there is no SASL: leave it out, or have a proxy in front of the brokers
//	sasl.oauthbearer.assertion.file
//	    there is no SASL: leave it out, or have a proxy in front of the brokers
//	sasl.oauthbearer.assertion.jwt.template.file
//	    there is no SASL: leave it out, or have a proxy in front of the brokers
//	sasl.oauthbearer.assertion.private.key.file
//	    there is no SASL: leave it out, or have a proxy in front of the brokers
//	sasl.oauthbearer.assertion.private.key.passphrase
//	    there is no SASL: leave it out, or have a proxy in front of the brokers
//	sasl.oauthbearer.assertion.private.key.pem
//	    there is no SASL: leave it out, or have a proxy in front of the brokers
//	sasl.oauthbearer.client.credentials.client.id
//	    there is no SASL: leave it out, or have a proxy in front of the brokers
//	sasl.oauthbearer.client.credentials.client.secret
//	    there is no SASL: leave it out, or have a proxy in front of the brokers
//	sasl.oauthbearer.client.id
//	    there is no SASL: leave it out, or have a proxy in front of the brokers
//	sasl.oauthbearer.client.secret
//	    there is no SASL: leave it out, or have a proxy in front of the brokers
//	sasl.oauthbearer.config
//	    there is no SASL: leave it out, or have a proxy in front of the brokers
//	sasl.oauthbearer.extensions
//	    there is no SASL: leave it out, or have a proxy in front of the brokers
//	sasl.oauthbearer.grant.type=client_credentials
//	    there is no SASL: leave it out, or have a proxy in front of the brokers
//	sasl.oauthbearer.method=default
//	    there is no SASL: leave it out, or have a proxy in front of the brokers
//	sasl.oauthbearer.scope
//	    there is no SASL: leave it out, or have a proxy in front of the brokers
//	sasl.oauthbearer.token.endpoint.url
//	    there is no SASL: leave it out, or have a proxy in front of the brokers
//	sasl.password
//	    there is no SASL: leave it out, or have a proxy in front of the brokers
//	sasl.username
//	    there is no SASL: leave it out, or have a proxy in front of the brokers
//	socket.blocking.max.ms=1000
//	    gRPC decides when addresses are resolved, and connections closed
//	socket.max.fails=1
//	    gRPC decides when addresses are resolved, and connections closed
//	socket_cb
//	    it can be set in C alone
//	ssl.ca.certificate.stores=Root
//	    Go's crypto/tls chooses
//	ssl.certificate.verify_cb
//	    it can be set in C alone
//	ssl.cipher.suites
//	    Go's crypto/tls chooses
//	ssl.crl.location
//	    lists of revoked certificates are not read
//	ssl.curves.list
//	    Go's crypto/tls chooses
//	ssl.engine.id=dynamic
//	    Go's crypto/tls chooses
//	ssl.engine.location
//	    Go's crypto/tls chooses
//	ssl.key.password
//	    write the key without encryption, to a file that only the program can read
//	ssl.keystore.location
//	    give certificate and key in PEM form: ssl.certificate.location, ssl.key.location
//	ssl.keystore.password
//	    give certificate and key in PEM form: ssl.certificate.location, ssl.key.location
//	ssl.providers
//	    Go's crypto/tls chooses
//	ssl.sigalgs.list
//	    Go's crypto/tls chooses
//	ssl_ca
//	    it can be set in C alone
//	ssl_certificate
//	    it can be set in C alone
//	ssl_engine_callback_data
//	    it can be set in C alone
//	ssl_key
//	    it can be set in C alone
//	statistics.interval.ms=0
//	    there are no statistics: a broker has metrics, at its admin address
//	stats_cb
//	    it can be set in C alone
//	test.mock.num.brokers=0
//	    start a broker with package ropewalktest
//	throttle_cb
//	    it can be set in C alone
//	topic.blacklist
//	    take a pattern that does not match them
//	topic.metadata.propagation.max.ms=30000
//	    the client learns of new leaders from the answers of brokers
//	topic.metadata.refresh.fast.cnt=10
//	    the client learns of new leaders from the answers of brokers
//	topic.metadata.refresh.fast.interval.ms=100
//	    the client learns of new leaders from the answers of brokers
//	topic.metadata.refresh.sparse=true
//	    the client learns of new leaders from the answers of brokers
//	transaction.timeout.ms=60000
//	    there are no transactions
//	transactional.id
//	    there are no transactions
package kafka
