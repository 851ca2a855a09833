"""AdminService: topics, their settings, and the cluster."""

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from ropewalk.v1 import admin_pb2, consumer_pb2, record_pb2

from client import CAUGHT_UP, records_of, refused, seconds, values


def test_a_topic_is_created_and_described(client, name):
    created = client.admin.CreateTopic(
        admin_pb2.CreateTopicRequest(
            name=name,
            partition_count=3,
            settings=admin_pb2.TopicSettings(retention=seconds(3600)),
        )
    ).topic
    assert (created.name, created.partition_count) == (name, 3)
    assert created.topic_id
    assert created.create_time.seconds > 0

    described = client.admin.GetTopic(admin_pb2.GetTopicRequest(name=name))
    assert described.topic == created
    assert [p.partition for p in described.partitions] == [0, 1, 2]
    for partition in described.partitions:
        assert partition.leader_broker_id in partition.replica_broker_ids
        assert (partition.log_start_offset, partition.high_watermark) == (0, 0)


def test_settings_that_are_left_out_have_their_defaults(client, topic):
    settings = client.admin.GetTopic(admin_pb2.GetTopicRequest(name=topic)).topic.settings
    assert settings == admin_pb2.TopicSettings(
        retention=seconds(7 * 24 * 3600),
        retention_bytes=-1,
        segment_bytes=1 << 30,
        segment_age=seconds(7 * 24 * 3600),
        max_record_bytes=1 << 20,
        timestamp_type=record_pb2.TIMESTAMP_TYPE_CREATE,
        cleanup_policy=admin_pb2.CLEANUP_POLICY_DELETE,
        delete_retention=seconds(24 * 3600),
        record_ttl=seconds(-1),
        compression=admin_pb2.TOPIC_COMPRESSION_PRODUCER,
    )


def test_a_list_is_read_page_by_page(client, name):
    names = [client.create_topic(f"{name}.{i}") for i in range(5)]
    pages, token = [], ""
    while True:
        page = client.admin.ListTopics(
            admin_pb2.ListTopicsRequest(name_prefix=name + ".", page_size=2, page_token=token)
        )
        pages.append([topic.name for topic in page.topics])
        token = page.next_page_token
        if not token:
            break
    assert pages == [names[:2], names[2:4], names[4:]]


def test_an_update_changes_what_its_mask_names(client, name):
    client.create_topic(name, retention=seconds(3600), max_record_bytes=1000)
    updated = client.admin.UpdateTopic(
        admin_pb2.UpdateTopicRequest(
            topic=admin_pb2.Topic(
                name=name,
                partition_count=4,
                # Not in the mask, so it changes nothing.
                settings=admin_pb2.TopicSettings(max_record_bytes=2000, retention_bytes=5000),
            ),
            # `settings.retention` is named and left out: it goes back to its default.
            update_mask=FieldMask(
                paths=["partition_count", "settings.retention", "settings.retention_bytes"]
            ),
        )
    ).topic
    assert updated.partition_count == 4
    assert updated.settings.retention == seconds(7 * 24 * 3600)
    assert updated.settings.retention_bytes == 5000
    assert updated.settings.max_record_bytes == 1000


def test_partitions_only_grow(client, topic3):
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD") as refusal:
        client.admin.UpdateTopic(
            admin_pb2.UpdateTopicRequest(
                topic=admin_pb2.Topic(name=topic3, partition_count=2),
                update_mask=FieldMask(paths=["partition_count"]),
            )
        )
    assert refusal.info.metadata["field"] == "partition_count"


def test_a_name_that_is_used_again_is_another_topic(client, topic):
    old = client.admin.GetTopic(admin_pb2.GetTopicRequest(name=topic)).topic
    client.produce(topic, values("of the old topic"))
    client.admin.DeleteTopic(admin_pb2.DeleteTopicRequest(name=topic))
    with refused(grpc.StatusCode.NOT_FOUND, "TOPIC_NOT_FOUND"):
        client.admin.GetTopic(admin_pb2.GetTopicRequest(name=topic))

    client.create_topic(topic)
    new = client.admin.GetTopic(admin_pb2.GetTopicRequest(name=topic)).topic
    assert new.topic_id != old.topic_id
    assert client.read(topic) == {}


def test_a_taken_name_is_refused(client, topic):
    with refused(grpc.StatusCode.ALREADY_EXISTS, "TOPIC_EXISTS") as refusal:
        client.create_topic(topic)
    assert refusal.info.metadata["topic"] == topic


def test_deleted_records_leave_a_gap(client, topic):
    client.produce(topic, values("a", "b", "c"))
    answer = client.admin.DeleteRecords(
        admin_pb2.DeleteRecordsRequest(
            topic=topic,
            targets=[admin_pb2.DeleteRecordsTarget(partition=0, before_offset=2)],
        )
    )
    assert [(p.partition, p.log_start_offset) for p in answer.partitions] == [(0, 2)]
    assert [r.value for r in client.read(topic).values()] == [b"c"]

    events = list(client.subscribe(topic, consumer_pb2.Start(offset=0), CAUGHT_UP))
    gaps = [e.gap for e in events if e.WhichOneof("event") == "gap"]
    assert [(g.partition, g.from_offset, g.to_offset, g.reason) for g in gaps] == [
        (0, 0, 2, consumer_pb2.Gap.REASON_DELETED)
    ]
    assert [offset for offset, _ in records_of(events)] == [(0, 2)]


def test_minus_one_deletes_everything(client, topic):
    client.produce(topic, values("a", "b"))
    answer = client.admin.DeleteRecords(
        admin_pb2.DeleteRecordsRequest(
            topic=topic,
            targets=[admin_pb2.DeleteRecordsTarget(partition=0, before_offset=-1)],
        )
    )
    assert answer.partitions[0].log_start_offset == 2
    # The next record goes on behind what was deleted.
    assert client.produce(topic, values("c")).appends[0].base_offset == 2


def test_the_cluster_is_described(client, broker, topic):
    cluster = client.admin.GetCluster(admin_pb2.GetClusterRequest())
    assert cluster.cluster_id
    assert [b.address for b in cluster.brokers] == [broker.address]
    assert cluster.controller_broker_id == cluster.brokers[0].broker_id
    assert cluster.topic_count >= 1
    assert cluster.partition_count >= cluster.topic_count
    assert cluster.limits.max_message_bytes <= 4 << 20
    assert cluster.limits.max_page_size == 1000


@pytest.mark.parametrize(
    "bad", ["", ".", "..", "a" * 250, "white space", "slash/", "ümlaut", "__mine"]
)
def test_a_bad_name_is_refused(client, bad):
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_TOPIC_NAME") as refusal:
        client.create_topic(bad)
    # For programs that show forms: which field, and what is wrong with it.
    violation = refusal.details["BadRequest"].field_violations[0]
    assert violation.field == refusal.info.metadata["field"] == "name"
    assert violation.description


def test_the_longest_name_is_taken(client):
    client.create_topic("a" * 249)
