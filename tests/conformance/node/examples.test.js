// The examples in examples/node do what they say.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { values } from './client.js';
import { setup } from './setup.js';

const shared = setup();
const here = (path) => fileURLToPath(new URL(path, import.meta.url));

// What an example prints.
async function linesOf(example, ...args) {
  return linesFrom('', example, ...args);
}

// The same of one that is given some lines to read.
async function linesFrom(given, example, ...args) {
  const running = promisify(execFile)(
    process.execPath,
    [here(`../../../examples/node/${example}`), shared.broker.address, ...args],
    // The packages are ours: the example has none installed.
    { env: { ...process.env, NODE_PATH: here('node_modules') }, timeout: 30_000 },
  );
  running.child.stdin.end(given);
  const { stdout } = await running;
  return stdout.trim().split('\n');
}

test('hello', async () => {
  assert.deepEqual(await linesOf('hello.cjs'), [
    'partition 0, from offset 0',
    '0:0 fruit=apple',
    '0:1 fruit=pear',
    '0:2 fruit=plum',
  ]);
});

test('producer', async () => {
  const topic = await shared.topic();
  const appended = await linesFrom('0\n1\n2\n', 'producer.cjs', topic, '0');
  assert.deepEqual(appended, ['0:0', '0:1', '0:2']);
  const read = await shared.client.read(topic);
  assert.deepEqual(
    read.map(({ value }) => value.toString()),
    ['0', '1', '2'],
  );
});

test('group', async () => {
  const topic = await shared.topic();
  await shared.client.produce(topic, values('a', 'b', 'c'), { partition: 0 });
  assert.deepEqual(await linesOf('group.cjs', topic, topic, '3'), [
    'partition 0 from offset 0',
    '0:0 a',
    '0:1 b',
    '0:2 c',
  ]);
  await shared.client.produce(topic, values('d'), { partition: 0 });
  assert.deepEqual(await linesOf('group.cjs', topic, topic, '1'), [
    'partition 0 from offset 3',
    '0:3 d',
  ]);
});
