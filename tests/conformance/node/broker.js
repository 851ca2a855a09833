// A broker process on ports that the system chose.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs';
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

  static async start() {
    const broker = new Broker();
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
