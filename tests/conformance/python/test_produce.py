"""ProducerService.Produce: one call, one batch."""

import gzip
import time

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from ropewalk.v1 import producer_pb2, record_pb2
from ropewalk.v1.record_pb2 import Header, Record

from client import CAUGHT_UP, at, refused, seconds, values

MIB = 1 << 20

# Keys and their murmur2, from the tests of Kafka's Java client.
KAFKA_HASHES = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


def test_a_batch_goes_to_the_partition_that_is_given(client, topic3):
    first = client.produce(topic3, values("a", "b"), partition=1).appends
    second = client.produce(topic3, values("c"), partition=1).appends
    assert [(a.partition, a.base_offset, a.record_count) for a in first] == [(1, 0, 2)]
    assert [(a.partition, a.base_offset, a.record_count) for a in second] == [(1, 2, 1)]
    assert first[0].achieved == producer_pb2.DURABILITY_QUORUM
    assert first[0].append_time.seconds > 0
    assert not first[0].record_indexes


@pytest.mark.parametrize("partitions", [1, 3, 100])
def test_keys_are_placed_as_kafka_places_them(client, name, partitions):
    client.create_topic(name, partitions=partitions)
    for key, murmur2 in KAFKA_HASHES.items():
        appends = client.produce(name, [Record(key=key, value=b"")]).appends
        assert [a.partition for a in appends] == [(murmur2 & 0x7FFFFFFF) % partitions]


def test_a_batch_is_split_by_key(client, topic3):
    keys = list(KAFKA_HASHES)
    appends = client.produce(topic3, [Record(key=key) for key in keys]).appends
    assert [a.partition for a in appends] == sorted(a.partition for a in appends)
    placed = {}
    for append in appends:
        # With one append alone the indexes would be left out: all records went there.
        assert append.record_count == len(append.record_indexes)
        for i, index in enumerate(append.record_indexes):
            placed[append.partition, append.base_offset + i] = keys[index]
    assert sorted(placed.values()) == sorted(keys)
    assert {at: record.key for at, record in client.read(topic3).items()} == placed


def test_records_without_a_key_stay_together_and_rotate(client, topic3):
    calls = [client.produce(topic3, values("a", "b")).appends for _ in range(6)]
    assert all(len(appends) == 1 and appends[0].record_count == 2 for appends in calls)
    assert {appends[0].partition for appends in calls} == {0, 1, 2}


@pytest.mark.parametrize("asked", ["UNSPECIFIED", "QUORUM", "LEADER", "NONE"])
def test_the_achieved_durability_is_at_least_the_one_asked_for(client, topic, asked):
    # From the strongest to the weakest, the numbers rise.
    number = producer_pb2.Durability.Value(f"DURABILITY_{asked}")
    append = client.produce(topic, values("a"), durability=number).appends[0]
    assert producer_pb2.DURABILITY_QUORUM <= append.achieved <= max(number, 1)


def test_an_append_can_be_conditional(client, topic):
    client.produce(topic, values("a"), partition=0, expected_offset=0)
    with refused(grpc.StatusCode.ABORTED, "EXPECTED_OFFSET_MISMATCH") as refusal:
        client.produce(topic, values("too late"), partition=0, expected_offset=0)
    current = int(refusal.info.metadata["current"])
    append = client.produce(topic, values("b"), partition=0, expected_offset=current).appends[0]
    assert append.base_offset == 1


def test_an_unknown_topic_is_created_by_its_first_record(client, name):
    assert client.produce(name, values("a")).appends[0].base_offset == 0


def test_absent_and_empty_are_different(client, topic):
    sent = [
        Record(),
        Record(value=b""),
        Record(key=b""),
        Record(key=b"", value=b""),
        Record(key=b"k"),  # A tombstone.
        Record(key=b"k", value=b""),
    ]
    client.produce(topic, sent)
    got = list(client.read(topic).values())
    assert got == sent
    presence = [(r.HasField("key"), r.HasField("value")) for r in got]
    assert presence == [(r.HasField("key"), r.HasField("value")) for r in sent]


def test_headers_keep_their_order_and_may_repeat(client, topic):
    headers = [
        Header(key="b", value=b"\x00\xff"),
        Header(key="a", value=b"1"),
        Header(key="b"),
        Header(key="b", value=b""),
        Header(key=""),
    ]
    client.produce(topic, [Record(value=b"v", headers=headers)])
    (got,) = client.read(topic).values()
    assert list(got.headers) == headers
    assert [h.HasField("value") for h in got.headers] == [True, True, False, True, False]


def test_text_is_stored_as_value(client, topic):
    record = Record(key_text="clé", text="valeur", headers=[Header(key="h", text="ü")])
    client.produce(topic, [record])
    (got,) = client.read(topic).values()
    stored = Record(
        key="clé".encode(),
        value=b"valeur",
        headers=[Header(key="h", value="ü".encode())],
    )
    assert got == stored


def test_a_record_keeps_its_own_time_or_has_none(client, topic):
    client.produce(topic, [Record(value=b"a", timestamp=at(1_000_000)), Record(value=b"b")])
    first, second = client.read(topic).values()
    assert first.timestamp == at(1_000_000)
    # Its time is then the append_time of its batch.
    assert not second.HasField("timestamp")


def test_a_topic_can_take_the_time_of_the_append(client, name):
    client.create_topic(name, timestamp_type=record_pb2.TIMESTAMP_TYPE_APPEND)
    client.produce(name, [Record(value=b"a", timestamp=at(1_000_000))])
    (got,) = client.read(name).values()
    assert not got.HasField("timestamp")


def test_the_largest_record_passes_with_the_defaults_of_the_library(client, name):
    limit = 3_670_016
    client.create_topic(name, max_record_bytes=limit)
    # In its encoded form a record with a value alone has a tag and four bytes of length before it.
    largest = Record(value=bytes(limit - 5))
    assert largest.ByteSize() == limit
    client.produce(name, [largest])
    assert list(client.read(name).values()) == [largest]

    with refused(grpc.StatusCode.INVALID_ARGUMENT, "RECORD_TOO_LARGE") as refusal:
        client.produce(name, [Record(value=bytes(limit - 4))])
    assert int(refusal.info.metadata["limit"]) == limit
    assert int(refusal.info.metadata["actual"]) == limit + 1
    assert refusal.info.metadata["field"]


def test_a_topic_takes_records_up_to_its_own_limit(client, topic):
    client.produce(topic, [Record(value=bytes(MIB - 4))])  # A tag and three bytes of length.
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "RECORD_TOO_LARGE"):
        client.produce(topic, [Record(value=bytes(MIB - 3))])


def compressed_request(topic, records, **fields):
    """A batch that the client has compressed: the encoded RecordSet, as one gzip member."""
    encoded = record_pb2.RecordSet(records=records).SerializeToString()
    return producer_pb2.ProduceRequest(
        topic=topic,
        partition=0,
        compressed=gzip.compress(encoded),
        compression=record_pb2.COMPRESSION_GZIP,
        record_count=len(records),
        **fields,
    )


def test_a_compressed_batch_is_served_as_it_is_to_those_who_accept_it(client, topic):
    sent = values("a" * 1000, "b" * 1000)
    request = compressed_request(topic, sent)
    client.producer.Produce(request)

    accepting = list(
        client.subscribe(
            topic,
            stop=CAUGHT_UP,
            accepted_compressions=[record_pb2.COMPRESSION_GZIP],
        )
    )
    (batch,) = [e.batch for e in accepting if e.WhichOneof("event") == "batch"]
    assert batch.compression == record_pb2.COMPRESSION_GZIP
    assert batch.compressed == request.compressed
    assert batch.record_count == 2
    unpacked = record_pb2.RecordSet.FromString(gzip.decompress(batch.compressed))
    assert list(unpacked.records) == sent

    # Who accepts nothing gets it decompressed.
    assert list(client.read(topic).values()) == sent


def test_garbage_is_no_compressed_batch(client, topic):
    request = compressed_request(topic, values("a"))
    request.compressed = b"garbage" * 10
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "CORRUPT_BATCH"):
        client.producer.Produce(request)


def test_a_record_is_delivered_until_its_time_is_over(client, topic):
    lasting = Record(key=b"a", value=b"1", ttl=seconds(3600))
    over = Record(key=b"b", value=b"2", ttl=Duration(nanos=1_000_000))
    client.produce(topic, [lasting, over, *values("c")])
    deadline = time.monotonic() + 10
    while len(read := client.read(topic)) != 2:
        assert time.monotonic() < deadline, read
    assert read == {(0, 0): lasting, (0, 2): Record(value=b"c")}

    with refused(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD") as refusal:
        client.produce(topic, [Record(value=b"d", ttl=Duration())])
    assert refusal.info.metadata["field"] == "records.records[0].ttl"


def test_a_compressed_batch_says_how_long_its_records_live(client, topic):
    records = [Record(value=b"1", ttl=Duration(nanos=1_000_000)), Record(value=b"2")]
    plain = record_pb2.RecordSet(records=records).SerializeToString()
    batch = {
        "compressed": gzip.compress(plain),
        "compression": record_pb2.COMPRESSION_GZIP,
        "record_count": 2,
    }
    for said in [{}, {"shortest_ttl": Duration(nanos=1_000_000)}]:
        client.producer.Produce(
            producer_pb2.ProduceRequest(topic=topic, partition=0, **batch, **said)
        )
    deadline = time.monotonic() + 10
    while len(read := client.read(topic)) != 3:
        assert time.monotonic() < deadline, read
    # Of the first batch nothing was said: the broker does not look inside.
    assert read == {(0, 0): records[0], (0, 1): records[1], (0, 3): records[1]}
