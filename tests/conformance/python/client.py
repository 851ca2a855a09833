"""The stubs of the three services, and what every test does with them.

Nothing here is needed to use Ropewalk from Python: it is what one would write around plain stubs.
"""

import contextlib

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.empty_pb2 import Empty
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import code_pb2, error_details_pb2
from grpc_status import rpc_status
from ropewalk.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    consumer_pb2,
    consumer_pb2_grpc,
    producer_pb2,
    producer_pb2_grpc,
    record_pb2,
)

EMPTY = Empty()
EARLIEST = consumer_pb2.Start(earliest=EMPTY)
LATEST = consumer_pb2.Start(latest=EMPTY)
CAUGHT_UP = consumer_pb2.Stop(caught_up=EMPTY)


def at(seconds):
    """A timestamp, in seconds since 1970."""
    return Timestamp(seconds=seconds)


def seconds(count):
    """A duration."""
    return Duration(seconds=count)


def values(*texts):
    """Records with these values and nothing else."""
    return [record_pb2.Record(value=text.encode()) for text in texts]


class Client:
    def __init__(self, channel):
        self.channel = channel
        self.admin = admin_pb2_grpc.AdminServiceStub(channel)
        self.producer = producer_pb2_grpc.ProducerServiceStub(channel)
        self.consumer = consumer_pb2_grpc.ConsumerServiceStub(channel)

    def create_topic(self, name, partitions=1, **settings):
        self.admin.CreateTopic(
            admin_pb2.CreateTopicRequest(
                name=name,
                partition_count=partitions,
                settings=admin_pb2.TopicSettings(**settings),
            )
        )
        return name

    def produce(self, topic, records, partition=None, **fields):
        """Appends one batch. Without `partition` the broker places the records."""
        return self.producer.Produce(
            producer_pb2.ProduceRequest(
                topic=topic,
                partition=partition,
                records=record_pb2.RecordSet(records=records),
                **fields,
            )
        )

    def subscribe(self, topic, start=EARLIEST, stop=None, timeout=30, **fields):
        """The events of a topic. The deadline is there so that no test waits for ever."""
        return self.consumer.Subscribe(
            consumer_pb2.SubscribeRequest(
                topics=[consumer_pb2.TopicSelection(name=topic)],
                default_start=start,
                stop=stop,
                **fields,
            ),
            timeout=timeout,
        )

    def read(self, topic, start=EARLIEST, stop=CAUGHT_UP, **fields):
        """What a topic holds now: (partition, offset) -> record, in the order of delivery."""
        return dict(records_of(self.subscribe(topic, start, stop, **fields)))


def records_of(events):
    """The records among the events, each as ((partition, offset), record)."""
    for event in events:
        if event.WhichOneof("event") == "batch":
            batch = event.batch
            for i, record in enumerate(batch.records.records):
                offset = batch.offsets[i] if batch.offsets else batch.base_offset + i
                yield (batch.partition, offset), record


class Refusal:
    """The details of an error. They are read once the call has failed."""

    info = None
    status = None

    def __init__(self):
        self.details = {}

    def fill(self, status):
        """Unpacks a google.rpc.Status."""
        self.status = status
        for detail in status.details:
            kind = detail.TypeName().rsplit(".", 1)[1]
            message = getattr(error_details_pb2, kind)()
            assert detail.Unpack(message)
            self.details[kind] = message
        self.info = self.details["ErrorInfo"]
        assert self.info.domain == "ropewalk.v1"

    def check(self, code, reason):
        assert (self.info.reason, self.status.code) == (reason, code.value[0]), self.status
        assert self.status.message
        assert code.name == code_pb2.Code.Name(self.status.code)


@contextlib.contextmanager
def refused(code, reason):
    """The block's last call must fail with this code, and this reason in its details."""
    refusal = Refusal()
    with pytest.raises(grpc.RpcError) as caught:
        yield refusal
    status = rpc_status.from_call(caught.value)
    assert status is not None, f"an error without details: {caught.value!r}"
    refusal.fill(status)
    refusal.check(code, reason)
