package kafkaconfig

import (
	"fmt"
	"strconv"
	"strings"
)

// MinInsyncReplicas is the one setting of which the number of a topic's replicas says what it can
// be.
const MinInsyncReplicas = "min.insync.replicas"

// A fixed is a setting of which one thing holds of every topic with so many replicas.
type fixed struct {
	name  string
	kind  Kind
	about string
	// value is what holds.
	value func(replicas int) string
	// asks reports whether a value asks for no more than that.
	asks func(value string, replicas int) bool
	// instead says what to do where it does.
	instead func(replicas int) string
}

// majority is how many replicas have a record before it is acknowledged.
func majority(replicas int) int { return replicas/2 + 1 }

// dirtyRatio is which part of a compacted partition at most was never compacted.
const dirtyRatio = 0.5

// always are the settings that are fixed, by name.
var always = []fixed{
	atLeast("flush.messages", Long, 1,
		"After how many records there is a sync: each is on the disk before it is acknowledged."),
	atLeast("flush.ms", Long, 0,
		"After how many milliseconds there is a sync: before a record is acknowledged."),
	only("follower.replication.throttled.replicas", List, "",
		"Which replicas are slow to catch up on purpose: none by name.",
		"cluster.catch_up_rate of the brokers bounds all of them: leave it out"),
	only("leader.replication.throttled.replicas", List, "",
		"Which replicas are slow to send on purpose: none by name.",
		"cluster.catch_up_rate of the brokers bounds all of them: leave it out"),
	only("local.retention.bytes", Long, "-2",
		"How many bytes of records stay on brokers' disks: all that are kept.",
		"all records are on brokers' disks: set retention.bytes"),
	only("local.retention.ms", Long, "-2",
		"How long records stay on brokers' disks: as long as they are kept.",
		"all records are on brokers' disks: set retention.ms"),
	only("max.compaction.lag.ms", Long, longestTime,
		"When a record is compacted at the latest: nothing is promised.",
		"what is older than delete.retention.ms is compacted soon: set that"),
	only("message.downconversion.enable", Bool, "false",
		"Whether records are turned into older formats: there is one format.",
		"there is one format of records: leave it out"),
	only("message.timestamp.after.max.ms", Long, longestTime,
		"How far in the future a record's time may be: as far as it likes.",
		"any time is taken: leave it out, or have brokers give the time, with "+
			"message.timestamp.type=LogAppendTime"),
	only("message.timestamp.before.max.ms", Long, longestTime,
		"How far in the past a record's time may be: as far as it likes.",
		"any time is taken: leave it out, or have brokers give the time, with "+
			"message.timestamp.type=LogAppendTime"),
	only("message.timestamp.difference.max.ms", Long, longestTime,
		"How far from now a record's time may be: as far as it likes.",
		"any time is taken: leave it out, or have brokers give the time, with "+
			"message.timestamp.type=LogAppendTime"),
	{
		name: "min.cleanable.dirty.ratio", kind: Double,
		about: "Which part of a compacted partition was never compacted when it is compacted next.",
		value: func(int) string { return strconv.FormatFloat(dirtyRatio, 'f', -1, 64) },
		asks: func(value string, _ int) bool {
			ratio, err := strconv.ParseFloat(value, 64)
			return err == nil && ratio >= dirtyRatio && ratio <= 1
		},
		instead: func(int) string {
			return "a partition is compacted when half of it never was: say 0.5 to 1, or leave it out; " +
				"a shorter delete.retention.ms has it compacted sooner"
		},
	},
	only("min.compaction.lag.ms", Long, "0",
		"How long a record is safe from compaction: not at all.",
		"any record may be compacted: say 0, or leave it out"),
	{
		name: MinInsyncReplicas, kind: Int,
		about: "How many replicas have a record before it is acknowledged to those who wait for all: " +
			"the majority.",
		value: func(replicas int) string { return strconv.Itoa(majority(replicas)) },
		asks: func(value string, replicas int) bool {
			n, err := strconv.Atoi(value)
			return err == nil && n >= 1 && n <= majority(replicas)
		},
		instead: func(replicas int) string {
			return fmt.Sprintf("it is the majority, %d of %d: ask for 1 to %[1]d, leave it out, or have "+
				"more replicas", majority(replicas), replicas)
		},
	},
	only("preallocate", Bool, "false",
		"Whether a segment's file takes its room on the disk at once: it does not.",
		"segments grow, only the journal has its room: leave it out"),
	only("remote.log.copy.disable", Bool, "false",
		"Whether copying to remote storage is stopped: there is none.",
		"there is no remote storage: leave it out"),
	only("remote.log.delete.on.disable", Bool, "false",
		"Whether remote storage is emptied when it is disabled: there is none.",
		"there is no remote storage: leave it out"),
	only("remote.storage.enable", Bool, "false",
		"Whether segments go to remote storage: there is none.",
		"there is no remote storage: leave it out"),
	only("segment.jitter.ms", Long, "0",
		"How much sooner than segment.ms a segment may be closed: not at all.",
		"segments are closed at segment.ms: say 0, or leave it out"),
	only("unclean.leader.election.enable", Bool, "false",
		"Whether a replica may lead that lacks records: never.",
		"a leader that lacks records is never elected: say false, or leave it out"),
}

// only is a setting of which one value is taken.
func only(name string, kind Kind, value, about, instead string) fixed {
	return fixed{
		name: name, kind: kind, about: about,
		value:   func(int) string { return value },
		asks:    func(given string, _ int) bool { return strings.EqualFold(given, value) },
		instead: func(int) string { return instead },
	}
}

// atLeast is a setting where a larger number asks for less.
func atLeast(name string, kind Kind, least int64, about string) fixed {
	return fixed{
		name: name, kind: kind, about: about,
		value: func(int) string { return strconv.FormatInt(least, 10) },
		asks: func(given string, _ int) bool {
			n, err := strconv.ParseInt(given, 10, 64)
			return err == nil && n >= least
		},
		instead: func(int) string {
			return fmt.Sprintf("brokers sync before they acknowledge: say a number from %d on, or leave "+
				"it out", least)
		},
	}
}

// refused are settings of Kafka's topics that are about nothing here, with what to do instead.
var refused = map[string]string{
	"compression.gzip.level": "brokers compress nothing: set the level where producers are made",
	"compression.lz4.level":  "brokers compress nothing: set the level where producers are made",
	"compression.zstd.level": "brokers compress nothing: set the level where producers are made",
	"file.delete.delay.ms":   "brokers have no such delay: leave it out",
	"index.interval.bytes":   "brokers keep their index in their own way: leave it out",
	"message.format.version": "there is one format of records: leave it out",
	"segment.index.bytes":    "brokers keep their index in their own way: leave it out",
}
