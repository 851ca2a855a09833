"""ConsumerService: committed offsets, and where a partition begins and ends."""

import grpc
import pytest
from ropewalk.v1.consumer_pb2 import (
    CommitOffsetRequest,
    CommittedOffset,
    GetCommittedOffsetsRequest,
    ListOffsetsRequest,
    OffsetQuery,
    TopicPartitions,
)
from ropewalk.v1.record_pb2 import Record

from client import EMPTY, at, refused, values


@pytest.fixture
def filled(client, topic3):
    """Two records in each partition."""
    for partition in range(3):
        client.produce(topic3, values("a", "b"), partition=partition)
    return topic3


def commit(client, group, topic, offsets, metadata=""):
    client.consumer.CommitOffset(
        CommitOffsetRequest(
            group=group,
            offsets=[
                CommittedOffset(topic=topic, partition=p, offset=o, metadata=metadata)
                for p, o in offsets.items()
            ],
        )
    )


def committed(client, group, *topics):
    answer = client.consumer.GetCommittedOffsets(
        GetCommittedOffsetsRequest(group=group, topics=topics)
    )
    return {(o.topic, o.partition): o.offset for o in answer.offsets}


def test_a_committed_offset_is_kept(client, filled, name):
    commit(client, name, filled, {0: 1, 2: 2}, metadata="at home")
    answer = client.consumer.GetCommittedOffsets(GetCommittedOffsetsRequest(group=name))
    assert [(o.topic, o.partition, o.offset, o.metadata) for o in answer.offsets] == [
        (filled, 0, 1, "at home"),
        (filled, 2, 2, "at home"),
    ]
    assert all(o.commit_time.seconds > 0 for o in answer.offsets)


def test_a_committed_offset_may_go_back(client, filled, name):
    commit(client, name, filled, {0: 2})
    commit(client, name, filled, {0: 0})
    assert committed(client, name) == {(filled, 0): 0}


def test_some_partitions_can_be_asked_for(client, filled, name):
    commit(client, name, filled, {0: 1, 1: 1, 2: 1})
    asked = TopicPartitions(topic=filled, partitions=[1])
    assert committed(client, name, asked) == {(filled, 1): 1}
    assert len(committed(client, name, TopicPartitions(topic=filled))) == 3


def test_a_group_that_never_committed_has_no_offsets(client, name):
    assert committed(client, name) == {}


@pytest.mark.parametrize("offset", [-1, 3])
def test_an_offset_outside_the_log_is_not_committed(client, filled, name, offset):
    with refused(grpc.StatusCode.OUT_OF_RANGE, "OFFSET_OUT_OF_RANGE"):
        commit(client, name, filled, {0: 1, 1: offset})
    # All together or none.
    assert committed(client, name) == {}


def test_positions_are_resolved(client, topic):
    for second in (100, 200):
        client.produce(topic, [Record(value=b"v", timestamp=at(second))])
    queries = [
        OffsetQuery(topic=topic, partition=0),  # Earliest is the default.
        OffsetQuery(topic=topic, partition=0, latest=EMPTY),
        OffsetQuery(topic=topic, partition=0, timestamp=at(150)),
        OffsetQuery(topic=topic, partition=0, timestamp=at(201)),
    ]
    answer = client.consumer.ListOffsets(ListOffsetsRequest(queries=queries))
    assert [o.offset for o in answer.offsets] == [0, 2, 1, 2]
    # A query by time gets the time of the record that it found, if it found one.
    assert answer.offsets[2].timestamp == at(200)
    assert not answer.offsets[3].HasField("timestamp")


def test_a_query_without_a_partition_is_for_all(client, filled):
    answer = client.consumer.ListOffsets(
        ListOffsetsRequest(queries=[OffsetQuery(topic=filled, latest=EMPTY)])
    )
    assert [(o.topic, o.partition, o.offset) for o in answer.offsets] == [
        (filled, 0, 2),
        (filled, 1, 2),
        (filled, 2, 2),
    ]


def test_an_unknown_topic_has_no_offsets(client, name):
    with refused(grpc.StatusCode.NOT_FOUND, "TOPIC_NOT_FOUND") as refusal:
        client.consumer.ListOffsets(ListOffsetsRequest(queries=[OffsetQuery(topic=name)]))
    resource = refusal.details["ResourceInfo"]
    assert name in (resource.resource_name, refusal.info.metadata["resource"])
