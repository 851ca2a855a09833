"""ConsumerService.Subscribe: where reading starts, where it ends, and what comes between."""

import time

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from ropewalk.v1 import admin_pb2, consumer_pb2
from ropewalk.v1.consumer_pb2 import Start, Stop
from ropewalk.v1.record_pb2 import Header, Record

from client import (
    CAUGHT_UP,
    EARLIEST,
    EMPTY,
    LATEST,
    Client,
    at,
    records_of,
    refused,
    values,
)


def kinds(events):
    return [event.WhichOneof("event") for event in events]


def next_batch(events):
    """The next batch; heartbeats and the like may come before it."""
    return next(event.batch for event in events if event.WhichOneof("event") == "batch")


def texts(records):
    return [record.value.decode() for record in records.values()]


@pytest.fixture
def timed(client, topic):
    """Records made at the seconds 100, 200 and 300."""
    for second in (100, 200, 300):
        client.produce(topic, [Record(value=b"%d" % second, timestamp=at(second))])
    return topic


def test_from_the_earliest_record_until_caught_up(client, topic):
    client.produce(topic, values("a", "b"))
    client.produce(topic, values("c"))
    events = list(client.subscribe(topic, EARLIEST, CAUGHT_UP))
    assert kinds(events)[0] == "started"
    (position,) = events[0].started.positions
    assert (position.topic, position.partition) == (topic, 0)
    assert (position.offset, position.high_watermark, position.log_start_offset) == (0, 3, 0)
    got = dict(records_of(events))
    assert list(got) == [(0, 0), (0, 1), (0, 2)]
    assert texts(got) == ["a", "b", "c"]


def test_a_batch_tells_where_it_came_from(client, topic):
    append = client.produce(topic, values("a", "b")).appends[0]
    batch = next_batch(client.subscribe(topic, EARLIEST, CAUGHT_UP))
    assert (batch.topic, batch.partition, batch.base_offset, batch.record_count) == (topic, 0, 0, 2)
    assert batch.append_time == append.append_time
    assert batch.leader_epoch == append.leader_epoch


def test_from_the_latest_offset(client, topic):
    client.produce(topic, values("before"))
    events = client.subscribe(topic, LATEST)
    # What is produced after `started` has arrived is delivered.
    assert next(events).started.positions[0].offset == 1
    client.produce(topic, values("after"))
    batch = next_batch(events)
    assert (batch.base_offset, batch.records.records[0].value) == (1, b"after")
    events.cancel()


def test_the_end_of_an_empty_topic_is_at_once(client, topic):
    assert client.read(topic) == {}
    assert list(client.subscribe(topic, LATEST, CAUGHT_UP))[0].HasField("started")


def test_from_an_offset_to_an_offset(client, topic):
    client.produce(topic, values("a", "b", "c", "d"))
    got = client.read(topic, Start(offset=1), Stop(offset=3))
    assert list(got) == [(0, 1), (0, 2)]  # The stop itself is not delivered.
    assert texts(got) == ["b", "c"]


def test_a_stop_may_lie_ahead(client, topic):
    events = client.subscribe(topic, EARLIEST, Stop(offset=2))
    assert next(events).HasField("started")
    client.produce(topic, values("a", "b", "c"))
    assert [offset for (_, offset), _ in records_of(events)] == [0, 1]


def test_from_a_time_to_a_time(client, timed):
    assert texts(client.read(timed, Start(timestamp=at(200)))) == ["200", "300"]
    assert texts(client.read(timed, Start(timestamp=at(150)))) == ["200", "300"]
    assert texts(client.read(timed, Start(timestamp=at(301)))) == []
    assert texts(client.read(timed, EARLIEST, Stop(timestamp=at(200)))) == ["100"]


def test_from_what_a_group_committed(client, topic, name):
    client.produce(topic, values("a", "b", "c"))
    start = Start(committed=consumer_pb2.CommittedStart(group=name, latest=EMPTY))
    assert texts(client.read(topic, start)) == []
    client.consumer.CommitOffset(
        consumer_pb2.CommitOffsetRequest(
            group=name, offsets=[consumer_pb2.CommittedOffset(topic=topic, partition=0, offset=2)]
        )
    )
    assert texts(client.read(topic, start)) == ["c"]


def test_partitions_have_their_own_starts(client, topic3):
    for partition in range(3):
        client.produce(topic3, values("a", "b", "c"), partition=partition)
    selection = consumer_pb2.TopicSelection(
        name=topic3,
        partitions=[
            consumer_pb2.PartitionSelection(partition=0, start=Start(offset=2)),
            consumer_pb2.PartitionSelection(partition=2),
        ],
    )
    events = client.consumer.Subscribe(
        consumer_pb2.SubscribeRequest(
            topics=[selection], default_start=Start(offset=1), stop=CAUGHT_UP
        ),
        timeout=30,
    )
    assert sorted(offset for offset, _ in records_of(events)) == [(0, 2), (2, 1), (2, 2)]


def test_topics_are_found_by_a_pattern(client, name):
    for topic in (f"{name}.a", f"{name}.b", f"not-{name}.c"):
        client.create_topic(topic)
        client.produce(topic, values(topic))
    events = client.consumer.Subscribe(
        consumer_pb2.SubscribeRequest(
            topics=[consumer_pb2.TopicSelection(pattern=rf"{name}\..*")], stop=CAUGHT_UP
        ),
        timeout=30,
    )
    assert sorted(texts(dict_of_topics(events))) == [f"{name}.a", f"{name}.b"]


def dict_of_topics(events):
    batches = (event.batch for event in events if event.WhichOneof("event") == "batch")
    return {batch.topic: batch.records.records[0] for batch in batches}


def test_a_new_partition_joins_from_its_beginning(client, topic):
    events = client.subscribe(topic, LATEST)
    assert next(events).HasField("started")
    client.admin.UpdateTopic(
        admin_pb2.UpdateTopicRequest(
            topic=admin_pb2.Topic(name=topic, partition_count=2),
            update_mask=FieldMask(paths=["partition_count"]),
        )
    )
    client.produce(topic, values("first of the new partition"), partition=1)
    batch = next_batch(events)
    assert (batch.partition, batch.base_offset) == (1, 0)
    events.cancel()


def test_text_is_for_people(client, topic):
    client.produce(
        topic,
        [
            Record(key=b"k", value="grüß".encode(), headers=[Header(key="h", value=b"1")]),
            Record(value=b"\xff\x00"),  # No UTF-8: it stays bytes.
            Record(key=b"k"),
            Record(value=b""),
        ],
    )
    assert list(client.read(topic, text=True).values()) == [
        Record(key_text="k", text="grüß", headers=[Header(key="h", text="1")]),
        Record(value=b"\xff\x00"),
        Record(key_text="k"),
        Record(text=""),
    ]


def test_a_quiet_stream_shows_that_it_lives(client, topic):
    client.produce(topic, values("a"))
    events = client.subscribe(topic, LATEST, heartbeat_interval=Duration(nanos=100_000_000))
    heartbeats = (event.heartbeat for event in events if event.WhichOneof("event") == "heartbeat")
    next(heartbeats)
    client.produce(topic, values("b"))
    while True:
        position = next(heartbeats).positions[0]
        if position.high_watermark == 2:
            break
    assert (position.topic, position.partition, position.offset) == (topic, 0, 2)
    events.cancel()


def test_a_reader_is_told_when_it_has_caught_up(client, topic):
    client.produce(topic, values("a"))
    events = client.subscribe(topic)
    caught_up = next(e.caught_up for e in events if e.WhichOneof("event") == "caught_up")
    assert (caught_up.topic, caught_up.partition, caught_up.offset) == (topic, 0, 1)
    events.cancel()


def test_batches_are_cut_to_the_size_that_is_asked_for(client, topic):
    client.produce(topic, [Record(value=bytes(1000)) for _ in range(10)])
    events = client.subscribe(topic, EARLIEST, CAUGHT_UP, max_batch_bytes=2500)
    batches = [event.batch for event in events if event.WhichOneof("event") == "batch"]
    assert [(b.base_offset, b.record_count) for b in batches] == [(i, 2) for i in range(0, 10, 2)]


def test_a_slow_reader_loses_nothing(client, topic):
    """Flow control holds the server back; it does not drop what a reader has not taken yet."""
    record = Record(value=bytes(100_000))
    for _ in range(10):
        client.produce(topic, [record] * 10)
    events = client.subscribe(topic, EARLIEST, CAUGHT_UP)
    assert next(events).HasField("started")
    time.sleep(0.5)
    assert [offset for (_, offset), _ in records_of(events)] == list(range(100))


def test_a_deadline_ends_the_call_and_not_the_connection(client, topic):
    with pytest.raises(grpc.RpcError) as caught:
        list(client.subscribe(topic, timeout=0.3))
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    client.produce(topic, values("the channel goes on"))


def test_a_cancelled_stream_is_over_on_the_server_too(client, topic, own_broker):
    with grpc.insecure_channel(own_broker.address) as channel:
        alone = Client(channel)
        events = alone.subscribe(topic)
        assert next(events).HasField("started")
        assert own_broker.metric("ropewalk_active_subscriptions") == 1
        events.cancel()
        deadline = time.monotonic() + 1
        while own_broker.metric("ropewalk_active_subscriptions") != 0:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        with pytest.raises(grpc.RpcError) as caught:
            list(events)
        assert caught.value.code() == grpc.StatusCode.CANCELLED
        alone.produce(topic, values("the channel goes on"))


@pytest.mark.parametrize("offset", [-1, 4, 2**63 - 1])
def test_an_offset_outside_the_log_is_refused(client, topic, offset):
    client.produce(topic, values("a", "b", "c"))
    with refused(grpc.StatusCode.OUT_OF_RANGE, "OFFSET_OUT_OF_RANGE") as refusal:
        list(client.subscribe(topic, Start(offset=offset)))
    assert (refusal.info.metadata["earliest"], refusal.info.metadata["latest"]) == ("0", "3")


def test_the_next_offset_is_in_the_log(client, topic):
    client.produce(topic, values("a"))
    events = client.subscribe(topic, Start(offset=1))
    assert next(events).started.positions[0].offset == 1
    events.cancel()
