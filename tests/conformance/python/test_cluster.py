"""AdminService: a cluster of three brokers. Any of them takes any call."""

import time

import grpc
from google.protobuf.field_mask_pb2 import FieldMask
from ropewalk.v1 import admin_pb2, producer_pb2, record_pb2

from client import refused, values


def describe(client, topic):
    """The first partition of a topic."""
    return client.admin.GetTopic(admin_pb2.GetTopicRequest(name=topic)).partitions[0]


def brokers_of(client):
    """The brokers, by id."""
    answer = client.admin.GetCluster(admin_pb2.GetClusterRequest())
    return {broker.broker_id: broker for broker in answer.brokers}


def create(client, topic, replicas):
    """A topic with one partition. Gives the brokers that have it, and the one that leads it."""
    request = admin_pb2.CreateTopicRequest(
        name=topic, partition_count=1, replication_factor=replicas
    )
    assert client.admin.CreateTopic(request).topic.replication_factor == replicas
    partition = describe(client, topic)
    return list(partition.replica_broker_ids), partition.leader_broker_id


def eventually(holds):
    """Brokers answer at once, and carry out what was asked for by themselves."""
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def set_draining(client, broker, draining):
    return client.admin.UpdateBroker(
        admin_pb2.UpdateBrokerRequest(
            broker=admin_pb2.Broker(broker_id=broker, draining=draining),
            update_mask=FieldMask(paths=["draining"]),
        )
    ).broker


def transfer(client, topic, broker=0):
    """Has a broker lead the first partition: the preferred leader when none is named."""
    request = admin_pb2.TransferLeadershipRequest(topic=topic, partition=0, broker_id=broker)
    return client.admin.TransferLeadership(request).leader_broker_id


def test_any_broker_takes_a_call_and_names_the_leader(brokers, clients, name):
    _, leader = create(clients[1], name, replicas=3)
    other = leader % 3 + 1
    # Each tells the others where it is once the cluster is formed.
    eventually(lambda: brokers_of(clients[other])[leader].address)
    request = producer_pb2.ProduceRequest(
        topic=name, partition=0, records=record_pb2.RecordSet(records=values("a"))
    )
    _, call = clients[other].producer.Produce.with_call(request)
    broker_id, address, _ = dict(call.trailing_metadata())["ropewalk-leader"].split(" ")
    assert (int(broker_id), address) == (leader, brokers[leader - 1].address)

    # Who wants to go to the leader itself says so, and is told where it is.
    direct = (("ropewalk-no-forward", "1"),)
    with refused(grpc.StatusCode.UNAVAILABLE, "NOT_LEADER") as refusal:
        clients[other].producer.Produce(request, metadata=direct)
    assert refusal.info.metadata["leader_id"] == str(leader)
    assert refusal.info.metadata["leader_address"] == brokers[leader - 1].address
    answer = clients[leader].producer.Produce(request, metadata=direct)
    assert answer.appends[0].base_offset == 1
    assert [r.value for r in clients[other].read(name).values()] == [b"a", b"a"]


def test_the_brokers_are_described(brokers, clients):
    expected = {i: (broker.address, True, False) for i, broker in enumerate(brokers, start=1)}

    def described(client):
        return {i: (b.address, b.alive, b.draining) for i, b in brokers_of(client).items()}

    for client in clients.values():
        # Each tells the others where it is, and connects to them, once the cluster is formed.
        eventually(lambda c=client: described(c) == expected)


def test_leadership_is_transferred(clients, name):
    (_, second, _), _ = create(clients[1], name, replicas=3)
    assert transfer(clients[1], name, second) == second
    # It is the preferred leader from then on, which is who leads when none is named.
    assert describe(clients[1], name).replica_broker_ids[0] == second
    assert transfer(clients[1], name) == second


def test_a_broker_is_drained(clients, name):
    _, leader = create(clients[1], name, replicas=3)
    assert set_draining(clients[1], leader, True).draining

    def leads_nothing():
        broker = brokers_of(clients[1])[leader]
        return broker.draining and broker.leader_count + broker.system_leader_count == 0

    eventually(leads_nothing)
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD") as refusal:
        transfer(clients[1], name, leader)
    assert refusal.info.metadata["field"] == "broker_id"
    assert not set_draining(clients[1], leader, False).draining


def test_a_replica_moves_with_its_records(clients, name):
    (only,), _ = create(clients[1], name, replicas=1)
    clients[1].produce(name, values("a", "b"))
    to = only % 3 + 1
    clients[1].admin.ReassignPartitions(
        admin_pb2.ReassignPartitionsRequest(
            assignments=[
                admin_pb2.PartitionAssignment(topic=name, partition=0, broker_ids=[to])
            ]
        )
    )
    # How far it is: the replicas that there are, which are not yet those that are to be.
    eventually(lambda: [r.broker_id for r in describe(clients[1], name).replicas] == [to])
    assert [r.value for r in clients[1].read(name).values()] == [b"a", b"b"]


def test_a_broker_is_removed(clients, name):
    create(clients[1], name, replicas=3)
    remove = admin_pb2.RemoveBrokerRequest(broker_id=3)
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"):
        clients[1].admin.RemoveBroker(remove)  # The topic needs three.
    clients[1].admin.DeleteTopic(admin_pb2.DeleteTopicRequest(name=name))
    clients[1].admin.RemoveBroker(remove)

    def is_gone():
        broker = brokers_of(clients[1]).get(3)
        return broker is None or broker.removed

    eventually(is_gone)


def test_topics_are_watched(client, name):
    client.create_topic(f"{name}.b")
    client.create_topic(f"{name}.a")
    watch = admin_pb2.WatchTopicsRequest(name_prefix=f"{name}.")
    events = client.admin.WatchTopics(watch, timeout=30)

    def told():
        event = next(events)
        kind = event.WhichOneof("event")
        return kind, getattr(getattr(event, kind), "name", None)

    # The state of the moment, by name, and its end.
    assert [told(), told()] == [("present", f"{name}.a"), ("present", f"{name}.b")]
    assert told() == ("synced", None)
    # Then each change, of these topics only.
    client.create_topic(f"{name}.c")
    assert told() == ("created", f"{name}.c")
    client.create_topic(f"other.{name}"[:249])
    client.admin.UpdateTopic(
        admin_pb2.UpdateTopicRequest(
            topic=admin_pb2.Topic(name=f"{name}.a", partition_count=2),
            update_mask=FieldMask(paths=["partition_count"]),
        )
    )
    assert told() == ("changed", f"{name}.a")
    client.admin.DeleteTopic(admin_pb2.DeleteTopicRequest(name=f"{name}.b"))
    assert told() == ("deleted", f"{name}.b")
    events.cancel()
