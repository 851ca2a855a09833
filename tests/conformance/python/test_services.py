"""What every gRPC server has: health, reflection, and an end in order."""

import queue
import time

import grpc
import pytest
from google.protobuf import descriptor_pool, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from ropewalk.v1 import admin_pb2, consumer_pb2, producer_pb2, record_pb2

from client import EARLIEST, Client, refused, values

SERVICES = [
    "ropewalk.v1.AdminService",
    "ropewalk.v1.ConsumerService",
    "ropewalk.v1.ProducerService",
]


@pytest.mark.parametrize("service", ["", *SERVICES])
def test_a_service_is_healthy(client, service):
    health = health_pb2_grpc.HealthStub(client.channel)
    answer = health.Check(health_pb2.HealthCheckRequest(service=service))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_an_unknown_service_has_no_health(client):
    health = health_pb2_grpc.HealthStub(client.channel)
    with pytest.raises(grpc.RpcError) as caught:
        health.Check(health_pb2.HealthCheckRequest(service="no.such.Service"))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_reflection_lists_the_services(client):
    services = ProtoReflectionDescriptorDatabase(client.channel).get_services()
    assert set(SERVICES) <= set(services)
    assert "grpc.health.v1.Health" in services


def test_reflection_gives_what_the_proto_files_say(client):
    pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(client.channel))
    for module in (producer_pb2, consumer_pb2, admin_pb2):
        for service in module.DESCRIPTOR.services_by_name.values():
            reflected = pool.FindServiceByName(service.full_name)
            assert [m.name for m in reflected.methods] == [m.name for m in service.methods]
        for message in module.DESCRIPTOR.message_types_by_name.values():
            reflected = pool.FindMessageTypeByName(message.full_name)
            assert [(f.name, f.number) for f in reflected.fields] == [
                (f.name, f.number) for f in message.fields
            ]


def test_a_program_without_stubs_can_call(client, topic):
    """Reflection alone is enough: this is what grpcurl does."""
    pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(client.channel))
    method = pool.FindMethodByName("ropewalk.v1.ProducerService.Produce")
    request = message_factory.GetMessageClass(method.input_type)(topic=topic)
    request.records.records.add(text="hello")
    produce = client.channel.unary_unary(
        "/ropewalk.v1.ProducerService/Produce",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
    )
    assert produce(request).appends[0].base_offset == 0
    assert [r.value for r in client.read(topic).values()] == [b"hello"]


def test_a_broker_that_stops_says_so_and_loses_nothing(own_broker, name):
    with grpc.insecure_channel(own_broker.address) as channel:
        alone = Client(channel)
        alone.create_topic(name)
        alone.produce(name, values("a", "b"))
        events = alone.subscribe(name, EARLIEST)
        assert next(events).HasField("started")

        asked = time.monotonic()
        own_broker.terminate()
        with refused(grpc.StatusCode.UNAVAILABLE, "BROKER_DRAINING"):
            list(events)
        assert own_broker.wait() == 0
        assert time.monotonic() - asked < 10

    own_broker.start()
    with grpc.insecure_channel(own_broker.address) as channel:
        alone = Client(channel)
        assert [r.value for r in alone.read(name).values()] == [b"a", b"b"]
        assert alone.produce(name, values("c")).appends[0].base_offset == 2


def test_a_producer_is_told_that_the_broker_stops(own_broker, name):
    request = producer_pb2.ProduceStreamRequest(
        request=producer_pb2.ProduceRequest(
            topic=name, partition=0, records=record_pb2.RecordSet(records=values("a"))
        )
    )
    with grpc.insecure_channel(own_broker.address) as channel:
        to_send = queue.Queue()
        answers = Client(channel).producer.ProduceStream(iter(to_send.get, None), timeout=30)
        to_send.put(request)
        assert next(answers).response.appends[0].base_offset == 0
        own_broker.terminate()
        # What it has read it has answered: the rest was not appended.
        with refused(grpc.StatusCode.UNAVAILABLE, "BROKER_DRAINING"):
            next(answers)
        assert own_broker.wait() == 0
        to_send.put(None)
