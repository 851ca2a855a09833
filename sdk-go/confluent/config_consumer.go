package kafka

import "time"

// An adder adds a setting under its names, of which the first is the usual one.
type adder func(doc string, of func(name string) setter, names ...string)

// keysOf are the settings of a role that add adds.
func keysOf(of role, fill func(add adder)) []configKey {
	var keys []configKey
	fill(func(doc string, setterOf func(name string) setter, names ...string) {
		for i, name := range names {
			if i > 0 {
				doc = "the same as " + names[0]
			}
			keys = append(keys, configKey{name: name, role: of, set: setterOf(name), doc: doc})
		}
	})
	return keys
}

func text(at func(*settings) *string) func(string) setter {
	return func(name string) setter { return takesText(name, at) }
}

func flag(at func(*settings) *bool) func(string) setter {
	return func(name string) setter { return takesBool(name, at) }
}

// consumerKeys are the settings of consumers.
func consumerKeys() []configKey {
	return append(keysOf(forConsumer, addGroup), keysOf(forConsumer, addFetch)...)
}

// addGroup adds what a consumer is in its group, and what is committed.
func addGroup(add adder) {
	add("the consumer group; required",
		text(func(s *settings) *string { return &s.consumer.group }), "group.id")
	add("a name by which the member is known again when it is restarted: Close does not leave then",
		text(func(s *settings) *string { return &s.consumer.instance }), "group.instance.id")
	add("earliest or latest (and their other names): where a partition begins of which nothing is "+
		"committed, or that ends before where it was to be read; see \"Gaps\" "+
		"(latest)", func(name string) setter {
		return takesOne(name, map[string]bool{
			"earliest": false, "smallest": false, "beginning": false,
			"latest": true, "largest": true, "end": true,
		}, func(s *settings, latest bool) { s.consumer.latest = latest })
	}, "auto.offset.reset")
	add("stored offsets are committed by themselves (true)",
		flag(func(s *settings) *bool { return &s.consumer.autoCommit }), "enable.auto.commit")
	add("how often; 0: only when partitions go, and by Close (5000)",
		millis(0, 86_400_000, func(s *settings) *time.Duration { return &s.consumer.commitEvery }),
		"auto.commit.interval.ms")
	add("a message that is handed out is stored as read (true)",
		flag(func(s *settings) *bool { return &s.consumer.autoStore }), "enable.auto.offset.store")
	add("how long the group waits for a member whose connection broke. It reconnects within Poll, so "+
		"that a program which does not poll has this time (45000)",
		millis(1, 3_600_000, func(s *settings) *time.Duration { return &s.consumer.session }),
		"session.timeout.ms")
	add("how often a broker shows that it is there, from 100 (5000)",
		millis(100, 300_000, func(s *settings) *time.Duration { return &s.consumer.heartbeat }),
		"heartbeat.interval.ms")
	add("how long a partition that is to move is left to a consumer that does not poll; it is "+
		"not put out of the group (300000; 3600000 is the most)",
		millis(1, 86_400_000, func(s *settings) *time.Duration { return &s.consumer.pollInterval }),
		"max.poll.interval.ms")
	add("range, roundrobin or cooperative-sticky; of several the first is asked for "+
		"(range,roundrobin)",
		text(func(s *settings) *string { return &s.consumer.strategies }),
		"partition.assignment.strategy")
	add("classic or consumer: the latter is cooperative (classic)", func(name string) setter {
		return takesOne(name, map[string]string{"classic": "classic", "consumer": "consumer"},
			func(s *settings, p string) { s.consumer.protocol = p })
	}, "group.protocol")
	add("uniform or range, with group.protocol=consumer", func(name string) setter {
		return takesOne(name, map[string]string{"": "", "uniform": "uniform", "range": "range"},
			func(s *settings, a string) { s.consumer.assignor = a })
	}, "group.remote.assignor")
}

// addFetch adds how a consumer reads.
func addFetch(add adder) {
	add("tell when a partition has been read to its end, as PartitionEOF (false)",
		flag(func(s *settings) *bool { return &s.consumer.eof }), "enable.partition.eof")
	add("the most bytes that a broker sends of a partition at once, up to 3670016, which a larger "+
		"number means too (1048576)",
		ints(1, 1_000_000_000, func(s *settings) *int { return &s.consumer.fetchBytes }),
		"max.partition.fetch.bytes", "fetch.message.max.bytes")
	add("as max.partition.fetch.bytes: the lesser counts (52428800)",
		ints(1, 2_147_483_135, func(s *settings) *int { return &s.consumer.fetchMax }),
		"fetch.max.bytes")
	add("any: a broker sends what there is at once, and waits for nothing",
		ints(0, 300_000, func(*settings) *int { return new(int) }), "fetch.wait.max.ms")
	add("topics that are named are created by that, where brokers allow it (false)",
		flag(func(s *settings) *bool { return &s.consumer.autoCreate }), "allow.auto.create.topics")
	add("either: there are no transactions, so that both read the same", func(name string) setter {
		return takesOne(name, map[string]bool{"read_committed": true, "read_uncommitted": true},
			func(*settings, bool) {})
	}, "isolation.level")
}
