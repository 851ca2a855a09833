// AdminService: a cluster of three brokers. Any of them takes any call.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import grpc from '@grpc/grpc-js';
import { startCluster } from './broker.js';
import { call, Client, reader, refused, services, text, values } from './client.js';

let brokers = [];
let clients = [];

before(async () => {
  brokers = await startCluster();
  clients = brokers.map(({ address }) => new Client(address));
  // Each tells the others where it is once the cluster is formed.
  await eventually(async () => {
    const known = await Promise.all(clients.map((client) => call(client.admin, 'getCluster', {})));
    return known.every(({ brokers }) => brokers.every(({ address }) => address));
  });
});
after(async () => {
  for (const client of clients) client.close();
  await Promise.all(brokers.map((broker) => broker.stop()));
});

// The client of a broker, by its id.
const at = (id) => clients[id - 1];

// The first partition of a topic.
async function describe(topic) {
  const { partitions } = await call(clients[0].admin, 'getTopic', { name: topic });
  return partitions[0];
}

// The brokers, by id.
async function brokersById() {
  const { brokers } = await call(clients[0].admin, 'getCluster', {});
  return Object.fromEntries(brokers.map((broker) => [broker.brokerId, broker]));
}

// A topic with one partition.
async function create(name, replicationFactor) {
  const request = { name, partitionCount: 1, replicationFactor };
  const { topic } = await call(clients[0].admin, 'createTopic', request);
  assert.equal(topic.replicationFactor, replicationFactor);
  return describe(name);
}

// Brokers answer at once, and carry out what was asked for by themselves.
async function eventually(holds) {
  for (const end = Date.now() + 30_000; !(await holds()); await sleep(50)) {
    assert(Date.now() < end);
  }
}

const setDraining = (brokerId, draining) =>
  call(clients[0].admin, 'updateBroker', {
    broker: { brokerId, draining },
    updateMask: { paths: ['draining'] },
  });

test('a broker that does not lead names the one that does', async () => {
  const { leaderBrokerId } = await create('hinted', 3);
  const other = (Number(leaderBrokerId) % 3) + 1;
  const request = { topic: 'hinted', partition: 0, records: { records: values('a') } };
  const trailers = await new Promise((resolve, reject) => {
    const produce = at(other).producer.produce(request, (error) => error && reject(error));
    produce.on('status', ({ metadata }) => resolve(metadata));
  });
  const [id, address] = trailers.get('ropewalk-leader')[0].split(' ');
  assert.deepEqual([id, address], [leaderBrokerId, brokers[leaderBrokerId - 1].address]);

  // Who wants to go to the leader itself says so, and is told where it is.
  const direct = new grpc.Metadata();
  direct.set('ropewalk-no-forward', '1');
  const asked = new Promise((resolve, reject) => {
    at(other).producer.produce(request, direct, (error, answer) =>
      error ? reject(error) : resolve(answer),
    );
  });
  const { ErrorInfo } = await refused(asked, 'UNAVAILABLE', 'NOT_LEADER');
  assert.equal(ErrorInfo.metadata.leader_id, leaderBrokerId);
  assert.equal(ErrorInfo.metadata.leader_address, brokers[leaderBrokerId - 1].address);
});

test('leadership is transferred', async () => {
  const { replicaBrokerIds } = await create('transferred', 3);
  const request = { topic: 'transferred', partition: 0 };
  const to = { ...request, brokerId: replicaBrokerIds[1] };
  const { leaderBrokerId } = await call(clients[0].admin, 'transferLeadership', to);
  assert.equal(leaderBrokerId, replicaBrokerIds[1]);
  // It is the preferred leader from then on, which is who leads when none is named.
  assert.equal((await describe('transferred')).replicaBrokerIds[0], leaderBrokerId);
  const again = await call(clients[0].admin, 'transferLeadership', request);
  assert.equal(again.leaderBrokerId, leaderBrokerId);
});

test('a broker is drained', async () => {
  const { leaderBrokerId } = await create('drained', 3);
  const { broker } = await setDraining(leaderBrokerId, true);
  assert.equal(broker.draining, true);
  await eventually(async () => {
    const { draining, leaderCount, systemLeaderCount } = (await brokersById())[leaderBrokerId];
    return draining && leaderCount + systemLeaderCount === 0;
  });
  const back = await setDraining(leaderBrokerId, false);
  assert.equal(back.broker.draining, false);
  const unknown = setDraining(99, true);
  await refused(unknown, 'INVALID_ARGUMENT', 'INVALID_FIELD');
});

test('a replica moves with its records', async () => {
  const { replicaBrokerIds } = await create('moved', 1);
  await clients[0].produce('moved', values('a', 'b'));
  const to = String((Number(replicaBrokerIds[0]) % 3) + 1);
  await call(clients[0].admin, 'reassignPartitions', {
    assignments: [{ topic: 'moved', partition: 0, brokerIds: [to] }],
  });
  // How far it is: the replicas that there are, which are not yet those that are to be.
  await eventually(async () => {
    const { replicas } = await describe('moved');
    return replicas.length === 1 && replicas[0].brokerId === to;
  });
  const records = await clients[0].read('moved');
  assert.deepEqual(
    records.map(({ value }) => text(value)),
    ['a', 'b'],
  );
});

test('topics are watched', async () => {
  const client = clients[0];
  for (const name of ['watched.b', 'watched.a']) await client.createTopic(name);
  const stream = client.admin.watchTopics({ namePrefix: 'watched.' });
  const events = reader(stream);
  const told = async () => {
    const { event, ...message } = await events.next();
    return [event, message[event].name ?? message[event].topicCount];
  };
  // The state of the moment, by name, and its end.
  assert.deepEqual(await told(), ['present', 'watched.a']);
  assert.deepEqual(await told(), ['present', 'watched.b']);
  assert.deepEqual(await told(), ['synced', 2]);
  // Then each change.
  await client.createTopic('watched.c');
  assert.deepEqual(await told(), ['created', 'watched.c']);
  await call(client.admin, 'updateTopic', {
    topic: { name: 'watched.a', partitionCount: 2 },
    updateMask: { paths: ['partition_count'] },
  });
  assert.deepEqual(await told(), ['changed', 'watched.a']);
  await call(client.admin, 'deleteTopic', { name: 'watched.b' });
  assert.deepEqual(await told(), ['deleted', 'watched.b']);
  stream.on('error', () => {}); // It is cancelled.
  stream.cancel();
});

// The last of this file: the cluster has two brokers after it.
test('a broker is removed', async () => {
  await create('needed', 3);
  const remove = () => call(clients[0].admin, 'removeBroker', { brokerId: 3 });
  await refused(remove(), 'INVALID_ARGUMENT', 'INVALID_FIELD'); // The topic needs three.
  for (const name of ['hinted', 'transferred', 'drained', 'needed', 'watched.a', 'watched.c']) {
    await call(clients[0].admin, 'deleteTopic', { name });
  }
  await remove();
  await eventually(async () => (await brokersById())[3]?.removed ?? true);
});

test('these tests show every call of the services', () => {
  const here = new URL('.', import.meta.url);
  const files = readdirSync(here).filter((name) => name.endsWith('.js'));
  const sources = files.map((name) => readFileSync(new URL(name, here), 'utf8')).join('\n');
  const methods = services().flatMap((service) => Object.values(service));
  assert(methods.length > 0);
  for (const { originalName: name } of methods) {
    assert(sources.includes(`'${name}'`) || sources.includes(`.${name}(`), `${name} is not shown`);
  }
});
