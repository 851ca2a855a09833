"""Calls that are refused: the code, the reason in the details, and a connection that lives on."""

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from ropewalk.v1 import admin_pb2, consumer_pb2, producer_pb2, record_pb2
from ropewalk.v1.record_pb2 import Header, Record, RecordSet

from client import refused, values

INVALID = grpc.StatusCode.INVALID_ARGUMENT


def test_an_error_without_the_status_library(client, name):
    """The details are in the trailers, for programs that do without grpcio-status."""
    with pytest.raises(grpc.RpcError) as caught:
        client.admin.GetTopic(admin_pb2.GetTopicRequest(name=name))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    trailers = dict(caught.value.trailing_metadata())
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain) == ("TOPIC_NOT_FOUND", "ropewalk.v1")


def test_a_partition_that_is_not_there(client, topic):
    with refused(grpc.StatusCode.NOT_FOUND, "PARTITION_NOT_FOUND"):
        client.produce(topic, values("a"), partition=1)
    with refused(grpc.StatusCode.NOT_FOUND, "PARTITION_NOT_FOUND"):
        selection = consumer_pb2.TopicSelection(
            name=topic, partitions=[consumer_pb2.PartitionSelection(partition=1)]
        )
        list(client.consumer.Subscribe(consumer_pb2.SubscribeRequest(topics=[selection])))


def batch(**fields):
    return producer_pb2.ProduceRequest(partition=0, **fields)


@pytest.mark.parametrize(
    "request_, field",
    [
        (batch(), "records"),
        (batch(records=RecordSet()), "records"),
        (batch(records=RecordSet(records=values("a")), record_count=1), "record_count"),
        (batch(records=RecordSet(records=values("a")), compression=2), "compression"),
        (batch(records=RecordSet(records=values("a")), durability=99), "durability"),
        (batch(records=RecordSet(records=values("a")), expected_offset=-1), "expected_offset"),
        (batch(compressed=b"x", record_count=1), "compression"),
        (batch(compressed=b"x", compression=99, record_count=1), "compression"),
        (batch(compressed=b"x", compression=2), "record_count"),
    ],
)
def test_a_field_that_makes_no_sense_is_named(client, topic, request_, field):
    request_.topic = topic
    with refused(INVALID, "INVALID_FIELD") as refusal:
        client.producer.Produce(request_)
    assert refusal.info.metadata["field"] == field
    assert refusal.details["BadRequest"].field_violations[0].field == field


@pytest.mark.parametrize(
    "record",
    [
        Record(key=b"k", key_text="k"),
        Record(value=b"v", text="v"),
        Record(headers=[Header(key="h", value=b"v", text="v")]),
    ],
)
def test_bytes_and_text_at_once_are_refused(client, topic, record):
    with refused(INVALID, "INVALID_FIELD") as refusal:
        client.produce(topic, [*values("good"), record])
    assert "records[1]" in refusal.info.metadata["field"]
    assert client.read(topic) == {}


def test_headers_have_a_limit(client, topic):
    headers = [Header(key="h", value=bytes(70_000))]
    with refused(INVALID, "RECORD_TOO_LARGE"):
        client.produce(topic, [Record(headers=headers)])


def test_a_message_beyond_the_limit_leaves_the_connection_alone(client, topic):
    with pytest.raises(grpc.RpcError) as caught:
        client.produce(topic, [Record(value=bytes(100 << 20))])
    assert caught.value.code() in (INVALID, grpc.StatusCode.RESOURCE_EXHAUSTED)
    client.produce(topic, values("the channel goes on"))


@pytest.mark.parametrize(
    "subscribe, field",
    [
        (consumer_pb2.SubscribeRequest(), "topics"),
        (consumer_pb2.SubscribeRequest(topics=[consumer_pb2.TopicSelection()]), "topics"),
        (
            consumer_pb2.SubscribeRequest(topics=[consumer_pb2.TopicSelection(pattern="(")]),
            "topics.pattern",
        ),
    ],
)
def test_a_subscription_that_makes_no_sense(client, subscribe, field):
    with refused(INVALID, "INVALID_FIELD") as refusal:
        list(client.consumer.Subscribe(subscribe, timeout=30))
    assert refusal.info.metadata["field"] == field


def test_bytes_that_are_no_request(client, topic):
    """Not what a stub can send, but what a faulty client may: it gets an error, and no end."""
    produce = client.channel.unary_unary(
        "/ropewalk.v1.ProducerService/Produce",
        request_serializer=lambda request: request,
        response_deserializer=producer_pb2.ProduceResponse.FromString,
    )
    with pytest.raises(grpc.RpcError) as caught:
        produce(b"\xff" * 100)
    assert caught.value.code() in (INVALID, grpc.StatusCode.INTERNAL)
    # A topic name that is no UTF-8.
    with pytest.raises(grpc.RpcError) as caught:
        produce(b"\x0a\x02\xff\xfe")
    assert caught.value.code() in (INVALID, grpc.StatusCode.INTERNAL)
    # A record set whose only record claims more bytes than follow.
    name = topic.encode()
    broken = b"\x0a" + bytes([len(name)]) + name + b"\x10\x00" + b"\x1a\x02\x0a\x7f"
    with refused(INVALID, "CORRUPT_BATCH"):
        produce(broken)
    assert client.produce(topic, values("the channel goes on")).appends[0].base_offset == 0


def test_unknown_compression_numbers_are_named(client, topic):
    client.produce(topic, values("a"))
    with refused(INVALID, "INVALID_FIELD") as refusal:
        list(client.subscribe(topic, accepted_compressions=[99]))
    assert refusal.info.metadata["field"] == "accepted_compressions"


def test_unknown_fields_are_no_error(client, topic):
    """A client of a later version may set fields that this broker does not know."""
    request = producer_pb2.ProduceRequest(
        topic=topic, records=record_pb2.RecordSet(records=values("a"))
    )
    produce = client.channel.unary_unary(
        "/ropewalk.v1.ProducerService/Produce",
        request_serializer=lambda r: r.SerializeToString() + b"\xf8\x3f\x01",  # Field 1023.
        response_deserializer=producer_pb2.ProduceResponse.FromString,
    )
    assert produce(request).appends[0].record_count == 1
