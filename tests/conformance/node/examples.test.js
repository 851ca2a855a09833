// The example in examples/node does what it says.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { setup } from './setup.js';

const shared = setup();
const here = (path) => fileURLToPath(new URL(path, import.meta.url));

test('hello', async () => {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [here('../../../examples/node/hello.cjs'), shared.broker.address],
    // The packages are ours: the example has none installed.
    { env: { ...process.env, NODE_PATH: here('node_modules') }, timeout: 30_000 },
  );
  assert.deepEqual(stdout.trim().split('\n'), [
    'partition 0, from offset 0',
    '0:0 fruit=apple',
    '0:1 fruit=pear',
    '0:2 fruit=plum',
  ]);
});
