"""A consumer group from stubs alone: the stream is the membership, and commits are the member's."""

import grpc
import pytest
from ropewalk.v1 import consumer_pb2, group_pb2

from client import refused, values


class Member:
    """A member of a group, which takes the events of its stream one by one."""

    def __init__(self, client, group, topic, **member):
        self.client = client
        self.group = group
        self.topic = topic
        self.owned = {}
        self.records = []
        self.events = client.subscribe(
            topic, start=None, group=group, member=consumer_pb2.GroupMember(**member)
        )
        started = next(self.events).started
        self.id, self.generation = started.member_id, started.generation
        assert not started.positions

    def until(self, is_so):
        """Takes events until something is so. The stream's deadline ends it otherwise."""
        while not is_so(self):
            event = next(self.events)
            if event.WhichOneof("event") == "assignment":
                self.assigned(event.assignment)
            elif event.WhichOneof("event") == "batch":
                batch = event.batch
                assert batch.base_offset == self.owned[batch.partition]
                self.owned[batch.partition] += batch.record_count
                self.records += [record.value.decode() for record in batch.records.records]

    def assigned(self, assignment):
        self.generation = assignment.generation
        for ended in assignment.ended:
            for partition in ended.partitions:
                del self.owned[partition]
        for begun in assignment.assigned:
            self.owned[begun.partition] = begun.offset
        for revoked in assignment.revoked:
            self.commit(*revoked.partitions.partitions, release=[revoked.partitions])

    def commit(self, *partitions, **fields):
        offsets = [
            consumer_pb2.CommittedOffset(topic=self.topic, partition=p, offset=self.owned[p])
            for p in partitions
        ]
        self.client.consumer.CommitOffset(
            consumer_pb2.CommitOffsetRequest(
                group=self.group,
                member_id=self.id,
                generation=fields.pop("generation", self.generation),
                offsets=offsets,
                **fields,
            )
        )

    def close(self):
        self.events.cancel()


@pytest.fixture
def two_partitions(client, name):
    client.create_topic(name, partitions=2)
    for partition in range(2):
        client.produce(name, values("a", "b"), partition=partition)
    return name


def test_members_share_a_topic_and_one_takes_over(client, two_partitions, name):
    one = Member(client, name, two_partitions)
    one.until(lambda m: len(m.records) == 4)
    one.commit(0, 1)
    two = Member(client, name, two_partitions)
    one.until(lambda m: len(m.owned) == 1)
    two.until(lambda m: len(m.owned) == 1)
    assert two.records == [] and set(one.owned) | set(two.owned) == {0, 1}
    one.close()
    two.until(lambda m: len(m.owned) == 2)
    client.produce(two_partitions, values("c"), partition=0)
    client.produce(two_partitions, values("c"), partition=1)
    two.until(lambda m: len(m.records) == 2)
    assert two.records == ["c", "c"]
    two.close()


def test_a_commit_of_what_is_anothers_is_refused(client, two_partitions, name):
    one = Member(client, name, two_partitions)
    one.until(lambda m: len(m.records) == 4)
    before = one.generation
    two = Member(client, name, two_partitions)
    one.until(lambda m: len(m.owned) == 1)
    two.until(lambda m: len(m.owned) == 1)
    (moved,) = two.owned
    one.owned[moved] = 1
    for generation in (before, one.generation):
        with refused(grpc.StatusCode.FAILED_PRECONDITION, "MEMBER_FENCED"):
            one.commit(moved, generation=generation)
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "GROUP_NOT_EMPTY"):
        client.admin.DeleteConsumerGroup(group_pb2.DeleteConsumerGroupRequest(group=name))
    one.close()
    two.close()


def test_a_member_that_comes_back_under_its_id_keeps_what_it_had(client, two_partitions, name):
    one = Member(client, name, two_partitions)
    one.until(lambda m: len(m.records) == 4)
    again = Member(client, name, two_partitions, member_id=one.id)
    assert again.id == one.id
    again.until(lambda m: len(m.owned) == 2)
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "MEMBER_FENCED"):
        list(one.events)
    again.close()


def test_a_member_plans_who_gets_what(client, two_partitions, name):
    one = Member(client, name, two_partitions, strategy="client:mine")
    plan = next(event.plan_request for event in one.events if event.HasField("plan_request"))
    assert [topic.partition_count for topic in plan.topics] == [2]
    mine = consumer_pb2.TopicPartitions(topic=two_partitions, partitions=[0, 1])
    assignment = consumer_pb2.MemberAssignment(member_id=one.id, partitions=[mine])
    submitted = consumer_pb2.SubmitAssignmentRequest(
        group=name, member_id=one.id, plan_id=plan.plan_id, assignments=[assignment]
    )
    client.consumer.SubmitAssignment(submitted)
    one.until(lambda m: len(m.records) == 4)
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"):
        client.consumer.SubmitAssignment(submitted)
    one.close()


def test_what_people_see_of_a_group_and_do_to_it(client, two_partitions, name):
    states = client.admin.WatchConsumerGroup(group_pb2.WatchConsumerGroupRequest(group=name))
    assert next(states).group.state == group_pb2.CONSUMER_GROUP_STATE_EMPTY
    one = Member(client, name, two_partitions, instance_name="one", client_id="mine")
    one.until(lambda m: len(m.records) == 4)
    one.owned[1] = 1
    one.commit(0, 1)
    now = next(told.group for told in states if told.group.members)
    assert [member.client_id for member in now.members] == ["mine"]
    states.cancel()

    described = client.admin.GetConsumerGroup(group_pb2.GetConsumerGroupRequest(group=name))
    assert described.group.members[0].instance_name == "one"
    assert [(o.committed_offset, o.lag) for o in described.offsets] == [(2, 0), (1, 1)]
    listed = client.admin.ListConsumerGroups(group_pb2.ListConsumerGroupsRequest(name_prefix=name))
    assert [(group.group, group.member_count) for group in listed.groups] == [(name, 1)]

    client.admin.RemoveConsumerGroupMember(
        group_pb2.RemoveConsumerGroupMemberRequest(group=name, instance_name="one")
    )
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "MEMBER_FENCED"):
        list(one.events)
    gone = group_pb2.GroupPartition(topic=two_partitions, partition=1)
    client.admin.DeleteCommittedOffsets(
        group_pb2.DeleteCommittedOffsetsRequest(group=name, partitions=[gone])
    )
    described = client.admin.GetConsumerGroup(group_pb2.GetConsumerGroupRequest(group=name))
    assert [offset.partition for offset in described.offsets] == [0]
    client.admin.DeleteConsumerGroup(group_pb2.DeleteConsumerGroupRequest(group=name))
    with refused(grpc.StatusCode.NOT_FOUND, "GROUP_NOT_FOUND"):
        client.admin.GetConsumerGroup(group_pb2.GetConsumerGroupRequest(group=name))
