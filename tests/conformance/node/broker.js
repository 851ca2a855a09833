// Broker processes on ports of their own.

import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

// A debug build on a busy machine; it takes well under a second otherwise.
const START_MILLISECONDS = 20_000;

export class Broker {
  #folder = mkdtempSync(join(tmpdir(), 'ropewalk-node-'));
  #process;
  #exited;
  #log = [];
  #flags;

  constructor(flags = []) {
    this.#flags = flags;
  }

  static async start(flags) {
    const broker = new Broker(flags);
    try {
      await broker.run();
    } catch (error) {
      await broker.stop();
      throw error;
    }
    return broker;
  }

  // Starts the process on the data that earlier ones left, and waits until it is ready.
  async run() {
    this.#process = spawn(
      binary(),
      [
        'serve',
        `--data-dir=${join(this.#folder, 'data')}`,
        '--listen=127.0.0.1:0',
        '--admin-listen=127.0.0.1:0',
        '--log-format=json',
        ...this.#flags,
      ],
      { env: environment(), stdio: ['ignore', 'ignore', 'pipe'] },
    );
    this.#exited = once(this.#process, 'exit');
    const late = setTimeout(() => this.#process.kill('SIGKILL'), START_MILLISECONDS);
    const { address, admin } = await this.#ready();
    clearTimeout(late);
    this.address = address;
    this.adminAddress = admin;
  }

  // The fields of the line that tells the addresses. The lines after it are read too, so that the
  // process never waits for room in the pipe.
  #ready() {
    return new Promise((resolve, reject) => {
      const lines = createInterface({ input: this.#process.stderr });
      lines.on('line', (line) => {
        this.#log.push(line);
        const fields = line.startsWith('{') ? JSON.parse(line).fields : {};
        if (fields.message === 'ready') resolve(fields);
      });
      lines.on('close', () => reject(new Error(`no broker:\n${this.#log.join('\n')}`)));
    });
  }

  // Asks the process to stop, and gives its exit code once it has drained.
  async terminate() {
    this.#process.kill('SIGTERM');
    const [code] = await this.#exited;
    return code;
  }

  // Ends the process and forgets its data.
  async stop() {
    this.#process?.kill('SIGKILL');
    await this.#exited;
    rmSync(this.#folder, { recursive: true });
  }

  // The value of a metric without labels.
  async metric(name) {
    const answer = await fetch(`http://${this.adminAddress}/metrics`);
    const lines = (await answer.text()).split('\n');
    return Number(lines.find((line) => line.startsWith(`${name} `)).split(' ')[1]);
  }
}

// Three brokers, with the ids 1 to 3, that have formed a cluster. Each is ready only when the others
// are there.
export async function startCluster() {
  const peers = (await freePorts(3)).map((port) => `127.0.0.1:${port}`);
  const starting = peers.map((peer, i) =>
    Broker.start([
      `--node-id=${i + 1}`,
      `--peer-listen=${peer}`,
      `--join=${peers.join(',')}`,
      '--bootstrap=1,2,3',
    ]),
  );
  const started = await Promise.allSettled(starting);
  const failed = started.find(({ status }) => status === 'rejected');
  const brokers = started.filter((one) => one !== failed).map(({ value }) => value);
  if (!failed) return brokers;
  await Promise.all(brokers.map((broker) => broker?.stop()));
  throw failed.reason;
}

// Ports that nobody listens on. The system takes the local ports of outgoing connections from above
// these: also that of one to a broker that does not listen yet, which would then keep it from listening.
async function freePorts(count) {
  const ports = new Set();
  while (ports.size < count) {
    const port = randomInt(10_000, 32_000);
    const server = createServer().listen(port, '127.0.0.1');
    try {
      await once(server, 'listening');
    } catch (error) {
      if (error.code !== 'EADDRINUSE') throw error;
      continue;
    }
    ports.add(port);
    await once(server.close(), 'close');
  }
  return [...ports];
}

function binary() {
  const path = process.env.ROPEWALK_BIN ?? '';
  try {
    accessSync(path, constants.X_OK);
  } catch {
    throw new Error(
      `ROPEWALK_BIN=${path} is no program: build the broker with ` +
        '`cargo build --bin ropewalk` and set ROPEWALK_BIN to target/debug/ropewalk',
    );
  }
  return path;
}

// The variables of the tests (ROPEWALK_BIN) are no settings, and a broker refuses those that it does
// not know.
function environment() {
  const others = Object.entries(process.env).filter(([name]) => !name.startsWith('ROPEWALK_'));
  return Object.fromEntries(others);
}
