// An idempotent producer from stubs alone: initProducer, and a sequence in each batch.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { call, refused, values } from './client.js';
import { setup } from './setup.js';

const shared = setup();

// A producer for one partition: `send` sends a batch that begins with a number.
async function sequenced(topic, name = '') {
  const { producerId, epoch } = await call(shared.client.producer, 'initProducer', { name });
  const send = async (firstSequence, ...texts) => {
    const sequence = { producerId, epoch, firstSequence };
    const fields = { partition: 0, sequence };
    const [append] = await shared.client.produce(topic, values(...texts), fields);
    return [append.baseOffset, append.duplicate];
  };
  return { producerId, epoch, send };
}

test('a batch that is sent again is there once', async () => {
  const topic = await shared.topic();
  const { send } = await sequenced(topic);
  assert.deepEqual(await send(0, 'a', 'b'), ['0', false]);
  assert.deepEqual(await send(2, 'c'), ['2', false]);
  assert.deepEqual(await send(0, 'a', 'b'), ['0', true]);
  const read = await shared.client.read(topic);
  assert.deepEqual(
    read.map(({ value }) => value.toString()),
    ['a', 'b', 'c'],
  );
});

test('what is out of order is refused, and so is an older holder of a name', async () => {
  const topic = await shared.topic();
  const older = await sequenced(topic, topic);
  await older.send(0, 'a');
  await refused(older.send(2, 'c'), 'FAILED_PRECONDITION', 'SEQUENCE_GAP');
  await refused(older.send(0, 'other'), 'FAILED_PRECONDITION', 'SEQUENCE_GAP');
  const newer = await sequenced(topic, topic);
  assert.deepEqual([newer.producerId, newer.epoch], [older.producerId, older.epoch + 65_536]);
  assert.deepEqual(await newer.send(0, 'b'), ['1', false]);
  await refused(older.send(1, 'c'), 'FAILED_PRECONDITION', 'PRODUCER_FENCED');
});
