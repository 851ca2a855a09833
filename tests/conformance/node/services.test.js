// Errors in general, health, and an end in order.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import grpc from '@grpc/grpc-js';
import { Broker } from './broker.js';
import { all, call, Client, reader, refused, values } from './client.js';
import { setup } from './setup.js';

const shared = setup();

const { service } = createRequire(import.meta.url)('grpc-health-check');
const Health = grpc.makeGenericClientConstructor(service, 'Health');

test('every service is healthy', async (t) => {
  const health = new Health(shared.broker.address, grpc.credentials.createInsecure());
  t.after(() => health.close());
  const services = ['AdminService', 'ConsumerService', 'ProducerService'];
  for (const name of ['', ...services.map((name) => `ropewalk.v1.${name}`)]) {
    const answer = await call(health, 'check', { service: name });
    assert.equal(answer.status, 'SERVING');
  }
  await assert.rejects(call(health, 'check', { service: 'no.such.Service' }), {
    code: grpc.status.NOT_FOUND,
  });
});

test('a bad name is refused, and the field is named', async () => {
  for (const name of ['', '.', '..', 'a'.repeat(250), 'ümlaut', '__mine']) {
    const { BadRequest } = await refused(
      shared.client.createTopic(name),
      'INVALID_ARGUMENT',
      'INVALID_TOPIC_NAME',
    );
    assert.equal(BadRequest.fieldViolations[0].field, 'name');
  }
});

test('an empty batch is refused', async () => {
  const empty = shared.client.produce(await shared.topic(), []);
  await refused(empty, 'INVALID_ARGUMENT', 'INVALID_FIELD');
});

test('bytes and text at once are refused', async () => {
  const both = [{ value: Buffer.from('a'), text: 'a' }];
  const refusal = shared.client.produce(await shared.topic(), both);
  await refused(refusal, 'INVALID_ARGUMENT', 'INVALID_FIELD');
});

test('a message beyond the limit leaves the connection alone', async () => {
  const topic = await shared.topic();
  const huge = shared.client.produce(topic, [{ value: Buffer.alloc(100 << 20) }]);
  await assert.rejects(huge, ({ code }) =>
    [grpc.status.INVALID_ARGUMENT, grpc.status.RESOURCE_EXHAUSTED].includes(code),
  );
  await shared.client.produce(topic, values('the channel goes on'));
});

test('a broker that stops says so and loses nothing', async (t) => {
  const broker = await Broker.start();
  t.after(() => broker.stop());
  const topic = shared.name();
  const before = new Client(broker.address);
  await before.createTopic(topic);
  await before.produce(topic, values('a', 'b'));
  const events = reader(before.subscribe(topic));
  await events.next('started');
  const end = refused(events.next('never'), 'UNAVAILABLE', 'BROKER_DRAINING');
  assert.equal(await broker.terminate(), 0);
  await end;
  before.close();

  await broker.run();
  const after = new Client(broker.address);
  const stream = after.subscribe(topic, { stop: { caughtUp: {} } });
  const batches = (await all(stream)).filter(({ event }) => event === 'batch');
  assert.equal(batches.reduce((count, { batch }) => count + batch.recordCount, 0), 2);
  const [append] = await after.produce(topic, values('c'));
  assert.equal(append.baseOffset, '2');
  after.close();
});
