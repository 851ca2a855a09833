// A consumer group from stubs alone: the stream is the membership, and commits are the member's.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { call, refused, values } from './client.js';
import { setup } from './setup.js';

const shared = setup();

// A member of a group, which takes the events of its stream one by one.
class Member {
  owned = new Map();
  records = [];

  static async join(topic, group, member = {}) {
    const joined = new Member();
    const stream = shared.client.subscribe(topic, { group, member });
    // Nobody listens any more once the stream is cancelled.
    stream.on('error', () => {});
    Object.assign(joined, { topic, group, stream, events: stream[Symbol.asyncIterator]() });
    const { started } = await joined.event();
    assert.deepEqual(started.positions, []);
    joined.id = started.memberId;
    joined.generation = started.generation;
    return joined;
  }

  async event() {
    const { value, done } = await this.events.next();
    assert(!done, 'the stream ended');
    return value;
  }

  async until(isSo) {
    while (!isSo(this)) {
      const { event, assignment, batch } = await this.event();
      if (event === 'assignment') await this.assigned(assignment);
      if (event === 'batch') {
        assert.equal(Number(batch.baseOffset), this.owned.get(batch.partition));
        this.owned.set(batch.partition, Number(batch.baseOffset) + batch.recordCount);
        this.records.push(...batch.records.records.map(({ value }) => value.toString()));
      }
    }
  }

  async assigned({ generation, ended, assigned, revoked }) {
    this.generation = generation;
    ended.forEach(({ partitions }) => partitions.forEach((p) => this.owned.delete(p)));
    assigned.forEach(({ partition, offset }) => this.owned.set(partition, Number(offset)));
    for (const { partitions } of revoked) {
      await this.commit(partitions.partitions, { release: [partitions] });
    }
  }

  commit(partitions, fields = {}) {
    const { topic, group, generation } = this;
    const offsets = partitions.map((partition) => ({
      topic,
      partition,
      offset: this.owned.get(partition),
    }));
    const request = { group, memberId: this.id, generation, offsets, ...fields };
    return call(shared.client.consumer, 'commitOffset', request);
  }
}

async function twoPartitions() {
  const topic = await shared.topic(2);
  for (const partition of [0, 1]) {
    await shared.client.produce(topic, values('a', 'b'), { partition });
  }
  return topic;
}

test('members share a topic, and one takes over', async () => {
  const topic = await twoPartitions();
  const one = await Member.join(topic, topic);
  await one.until(({ records }) => records.length === 4);
  await one.commit([0, 1]);
  const two = await Member.join(topic, topic);
  await Promise.all([
    one.until(({ owned }) => owned.size === 1),
    two.until(({ owned }) => owned.size === 1),
  ]);
  assert.deepEqual([...one.owned.keys(), ...two.owned.keys()].sort(), [0, 1]);
  one.stream.cancel();
  await two.until(({ owned }) => owned.size === 2);
  for (const partition of [0, 1]) {
    await shared.client.produce(topic, values('c'), { partition });
  }
  await two.until(({ records }) => records.length === 2);
  assert.deepEqual(two.records, ['c', 'c']);
  two.stream.cancel();
});

test("a commit of what is another's is refused", async () => {
  const topic = await twoPartitions();
  const one = await Member.join(topic, topic);
  await one.until(({ records }) => records.length === 4);
  const before = one.generation;
  const two = await Member.join(topic, topic);
  await Promise.all([
    one.until(({ owned }) => owned.size === 1),
    two.until(({ owned }) => owned.size === 1),
  ]);
  const [moved] = two.owned.keys();
  one.owned.set(moved, 1);
  for (const generation of [before, one.generation]) {
    const commit = one.commit([moved], { generation });
    await refused(commit, 'FAILED_PRECONDITION', 'MEMBER_FENCED');
  }
  const deletion = call(shared.client.admin, 'deleteConsumerGroup', { group: topic });
  await refused(deletion, 'FAILED_PRECONDITION', 'GROUP_NOT_EMPTY');
  one.stream.cancel();
  two.stream.cancel();
});

test('a member plans who gets what', async () => {
  const topic = await twoPartitions();
  const one = await Member.join(topic, topic, { strategy: 'client:mine' });
  let event;
  do event = await one.event();
  while (event.event !== 'planRequest');
  const { planId, topics } = event.planRequest;
  assert.deepEqual(topics, [{ topic, partitionCount: 2 }]);
  const assignments = [{ memberId: one.id, partitions: [{ topic, partitions: [0, 1] }] }];
  const plan = { group: topic, memberId: one.id, planId, assignments };
  await call(shared.client.consumer, 'submitAssignment', plan);
  await one.until(({ records }) => records.length === 4);
  const late = call(shared.client.consumer, 'submitAssignment', plan);
  await refused(late, 'INVALID_ARGUMENT', 'INVALID_FIELD');
  one.stream.cancel();
});

test('what people see of a group, and do to it', async () => {
  const topic = await twoPartitions();
  const group = topic;
  const { admin } = shared.client;
  const watch = admin.watchConsumerGroup({ group });
  watch.on('error', () => {});
  const states = watch[Symbol.asyncIterator]();
  assert.equal((await states.next()).value.group.state, 'CONSUMER_GROUP_STATE_EMPTY');
  const one = await Member.join(topic, group, { instanceName: 'one', clientId: 'mine' });
  await one.until(({ records }) => records.length === 4);
  one.owned.set(1, 1);
  await one.commit([0, 1]);
  let now;
  do now = (await states.next()).value.group;
  while (now.members.length === 0);
  assert.equal(now.members[0].clientId, 'mine');
  watch.cancel();

  const described = await call(admin, 'getConsumerGroup', { group });
  const offsets = described.offsets.map(({ committedOffset, lag }) => [committedOffset, lag]);
  assert.deepEqual(offsets, [['2', '0'], ['1', '1']]);
  const { groups } = await call(admin, 'listConsumerGroups', { namePrefix: group });
  assert.deepEqual(groups.map((listed) => [listed.group, listed.memberCount]), [[group, 1]]);

  await call(admin, 'removeConsumerGroupMember', { group, instanceName: 'one' });
  const ended = (async () => {
    for (;;) await one.event();
  })();
  await refused(ended, 'FAILED_PRECONDITION', 'MEMBER_FENCED');
  await call(admin, 'deleteCommittedOffsets', { group, partitions: [{ topic, partition: 1 }] });
  const left = (await call(admin, 'getConsumerGroup', { group })).offsets;
  assert.deepEqual(left.map(({ partition }) => partition), [0]);
  await call(admin, 'deleteConsumerGroup', { group });
  await refused(call(admin, 'getConsumerGroup', { group }), 'NOT_FOUND', 'GROUP_NOT_FOUND');
});
