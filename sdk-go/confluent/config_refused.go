package kafka

// refusedKeys are the settings of librdkafka that have no meaning here, each with what to do
// instead, and with the value that asks for nothing, if there is one.
func refusedKeys() []configKey {
	var keys []configKey
	for _, group := range refused {
		for i := 0; i < len(group.names); i += 2 {
			keys = append(keys, configKey{
				name: group.names[i], same: group.names[i+1], doc: group.doc,
			})
		}
	}
	return keys
}

// refused has names and their harmless values, in pairs.
var refused = []struct {
	doc   string
	names []string
}{
	{"there are no transactions", []string{
		"transactional.id", "",
		"transaction.timeout.ms", "60000",
		"enable.gapless.guarantee", "false",
	}},
	{"there is no SASL: leave it out, or have a proxy in front of the brokers", []string{
		"sasl.mechanisms", "GSSAPI",
		"sasl.mechanism", "GSSAPI",
		"sasl.username", "",
		"sasl.password", "",
		"sasl.kerberos.service.name", "kafka",
		"sasl.kerberos.principal", "kafkaclient",
		"sasl.kerberos.kinit.cmd", "",
		"sasl.kerberos.keytab", "",
		"sasl.kerberos.min.time.before.relogin", "60000",
		"sasl.oauthbearer.config", "",
		"enable.sasl.oauthbearer.unsecure.jwt", "false",
		"sasl.oauthbearer.method", "default",
		"sasl.oauthbearer.client.id", "",
		"sasl.oauthbearer.client.secret", "",
		"sasl.oauthbearer.client.credentials.client.id", "",
		"sasl.oauthbearer.client.credentials.client.secret", "",
		"sasl.oauthbearer.scope", "",
		"sasl.oauthbearer.extensions", "",
		"sasl.oauthbearer.token.endpoint.url", "",
		"sasl.oauthbearer.grant.type", "client_credentials",
		"sasl.oauthbearer.assertion.algorithm", "RS256",
		"sasl.oauthbearer.assertion.private.key.file", "",
		"sasl.oauthbearer.assertion.private.key.passphrase", "",
		"sasl.oauthbearer.assertion.private.key.pem", "",
		"sasl.oauthbearer.assertion.file", "",
		"sasl.oauthbearer.assertion.claim.aud", "",
		"sasl.oauthbearer.assertion.claim.exp.seconds", "300",
		"sasl.oauthbearer.assertion.claim.iss", "",
		"sasl.oauthbearer.assertion.claim.jti.include", "false",
		"sasl.oauthbearer.assertion.claim.nbf.seconds", "60",
		"sasl.oauthbearer.assertion.claim.sub", "",
		"sasl.oauthbearer.assertion.jwt.template.file", "",
		"https.ca.location", "",
		"https.ca.pem", "",
	}},
	{"Go's crypto/tls chooses", []string{
		"ssl.cipher.suites", "",
		"ssl.curves.list", "",
		"ssl.sigalgs.list", "",
		"ssl.providers", "",
		"ssl.engine.location", "",
		"ssl.engine.id", "dynamic",
		"ssl.ca.certificate.stores", "Root",
	}},
	{"write the key without encryption, to a file that only the program can read", []string{
		"ssl.key.password", "",
	}},
	{"give certificate and key in PEM form: ssl.certificate.location, ssl.key.location", []string{
		"ssl.keystore.location", "",
		"ssl.keystore.password", "",
	}},
	{"lists of revoked certificates are not read", []string{
		"ssl.crl.location", "",
	}},
	{"there are no statistics: a broker has metrics, at its admin address", []string{
		"statistics.interval.ms", "0",
	}},
	{"a broker of another kind than Ropewalk's cannot be spoken to", []string{
		"api.version.request", "true",
		"api.version.request.timeout.ms", "10000",
		"api.version.fallback.ms", "0",
		"broker.version.fallback", "0.10.0",
	}},
	{"gRPC decides when addresses are resolved, and connections closed", []string{
		"broker.address.ttl", "1000",
		"client.dns.lookup", "use_all_dns_ips",
		"connections.max.idle.ms", "0",
		"reconnect.backoff.jitter.ms", "0",
		"socket.max.fails", "1",
		"socket.blocking.max.ms", "1000",
	}},
	{"the client learns of new leaders from the answers of brokers", []string{
		"topic.metadata.refresh.fast.interval.ms", "100",
		"topic.metadata.refresh.fast.cnt", "10",
		"topic.metadata.refresh.sparse", "true",
		"topic.metadata.propagation.max.ms", "30000",
		"metadata.recovery.strategy", "rebootstrap",
		"metadata.recovery.rebootstrap.trigger.ms", "300000",
		"coordinator.query.interval.ms", "600000",
	}},
	{"take a pattern that does not match them", []string{
		"topic.blacklist", "",
	}},
	{"a message is never copied but once, by Produce", []string{
		"message.copy.max.bytes", "65535",
	}},
	{"a broker's messages are below 4 MiB", []string{
		"receive.message.max.bytes", "100000000",
	}},
	{"nothing is compiled in, or loaded, as librdkafka does it", []string{
		"builtin.features", "",
		"plugin.library.paths", "",
		"interceptors", "",
	}},
	{"it can be set in C alone", []string{
		"enabled_events", "0",
		"error_cb", "",
		"throttle_cb", "",
		"stats_cb", "",
		"log_cb", "",
		"background_event_cb", "",
		"socket_cb", "",
		"connect_cb", "",
		"closesocket_cb", "",
		"open_cb", "",
		"resolve_cb", "",
		"opaque", "",
		"default_topic_conf", "",
		"ssl_key", "",
		"ssl_certificate", "",
		"ssl_ca", "",
		"ssl_engine_callback_data", "",
		"ssl.certificate.verify_cb", "",
		"oauthbearer_token_refresh_cb", "",
		"consume_cb", "",
		"rebalance_cb", "",
		"offset_commit_cb", "",
		"dr_cb", "",
		"dr_msg_cb", "",
		"partitioner_cb", "",
		"msg_order_cmp", "",
	}},
	{"Go has no threads to name, to seed or to end", []string{
		"internal.termination.signal", "0",
		"enable.random.seed", "true",
		"log.thread.name", "true",
	}},
	{"log_level says what is logged, for connections too", []string{
		"log.connection.close", "true",
	}},
	{"only type consumer is there", []string{
		"group.protocol.type", "consumer",
	}},
	{"what is read ahead is bounded by the core: some 4 MiB, and fetches under way", []string{
		"queued.min.messages", "100000",
		"queued.max.messages.kbytes", "65536",
		"fetch.queue.backoff.ms", "1000",
		"fetch.error.backoff.ms", "500",
	}},
	{"a broker sends what there is at once", []string{
		"fetch.min.bytes", "1",
	}},
	{"brokers keep committed offsets", []string{
		"offset.store.method", "broker",
		"offset.store.path", ".",
		"offset.store.sync.interval.ms", "-1",
		"auto.commit.enable", "true",
		"consume.callback.max.messages", "0",
	}},
	{"brokers check what they read from their disks, always", []string{
		"check.crcs", "false",
	}},
	{"brokers do not choose replicas by rack for readers", []string{
		"client.rack", "",
	}},
	{"messages of a partition are sent in order", []string{
		"queuing.strategy", "fifo",
		"queue.buffering.backpressure.threshold", "1",
	}},
	{"reports come for all messages: look at TopicPartition.Error", []string{
		"delivery.report.only.error", "false",
	}},
	{"offsets are reported always", []string{
		"produce.offset.report", "true",
	}},
	{"clients push no metrics", []string{
		"enable.metrics.push", "false",
	}},
	{"start a broker with package ropewalktest", []string{
		"test.mock.num.brokers", "0",
	}},
}
