// @jupyterlab/services pointed straight at the gateway, as a browser's JupyterLab would be: v1 WebSockets, REST, sessions.
// node services.mjs NODE_MODULES BASE_URL TOKEN: prints one JSON object, what each step saw.
import { createRequire } from 'node:module';
const [, , modules, baseUrl, token] = process.argv;
const require = createRequire(modules + '/x');
const WebSocket = require('ws');
const services = require('@jupyterlab/services');
const { KernelManager, KernelAPI, KernelSpecManager, ServerConnection, SessionManager } = services;

const protocols = [];
class CountingWebSocket extends WebSocket {
  constructor(url, offered, ...rest) {
    super(url, offered, ...rest);
    this.addEventListener('open', () => protocols.push(this.protocol));
  }
}

const serverSettings = ServerConnection.makeSettings({
  baseUrl, wsUrl: baseUrl.replace('http', 'ws'), token, WebSocket: CountingWebSocket, appendToken: true });
const saw = {};

function until(signal, wanted, what, ms = 20000) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${what} within ${ms} ms`)), ms);
    const slot = (_, value) => {
      if (wanted(value)) {
        clearTimeout(timer);
        signal.disconnect(slot);
        resolve(value);
      }
    };
    signal.connect(slot);
  });
}

async function run(kernel, code, onStdin) {
  const outputs = [];
  const future = kernel.requestExecute({ code, allow_stdin: true });
  future.onIOPub = message => outputs.push(message);
  if (onStdin) future.onStdin = onStdin;
  const reply = await future.done;
  const text = outputs.filter(m => m.header.msg_type === 'stream').map(m => m.content.text).join('');
  return { reply: reply.content, text, outputs };
}

const steps = {
  async specs() {
    const manager = new KernelSpecManager({ serverSettings });
    await manager.ready;
    saw.specs = Object.keys(manager.specs.kernelspecs).sort();
    manager.dispose();
  },
  async execute() {
    const { text, reply } = await run(this.kernel, 'print hello');
    Object.assign(saw, { text, status: reply.status, protocols: [...protocols] });
    saw.info = (await this.kernel.info).implementation;
  },
  async input() {
    const { text } = await run(this.kernel, 'input who?', message =>
      this.kernel.sendInputReply({ value: 'Ada', status: 'ok' }, message.header));
    saw.input = text;
  },
  async buffers() {
    const comm = this.kernel.createComm('anything');
    comm.open({});
    const echoed = new Promise(resolve => { comm.onMsg = message => resolve(message.buffers); });
    comm.send({ k: 1 }, {}, [new Uint8Array([0, 255, 254, 7]).buffer]);
    saw.buffers = [...new Uint8Array((await echoed)[0].buffer ?? (await echoed)[0])];
  },
  async interrupt() {
    const future = this.kernel.requestExecute({ code: 'sleep 60000' });
    await new Promise(resolve => { future.onIOPub = m => m.header.msg_type === 'execute_input' && resolve(); });
    await this.kernel.interrupt();
    saw.interrupted = (await future.done).content.status;
  },
  async restart() {
    const before = (await run(this.kernel, 'pid')).text;
    await this.kernel.restart();
    const { text } = await run(this.kernel, 'pid');
    saw.restarted = text !== before && /^\d+\n$/.test(text);
  },
  async autorestart() {
    const restarting = until(this.kernel.statusChanged, status => status === 'autorestarting' || status === 'restarting',
                             'status autorestarting');
    this.kernel.requestExecute({ code: 'exit 3' }).done.catch(() => {});
    saw.autorestart = await restarting;
    saw.afterAutorestart = (await run(this.kernel, 'print back')).text;
  },
  async states() {
    const { text } = await run(this.kernel, 'status thinking\nstatus\nstatus dead\nprint calm');
    saw.afterOddStates = [text, this.kernel.isDisposed];
  },
  async list() {
    const models = await KernelAPI.listRunning(serverSettings);
    saw.listed = models.some(model => model.id === this.kernel.id);
  },
  async shutdown() {
    await this.kernel.shutdown();
    saw.gone = (await KernelAPI.getKernelModel(this.kernel.id, serverSettings)) === undefined;
  },
  async sessions() {
    const sessions = new SessionManager({ kernelManager: this.kernels, serverSettings });
    await sessions.ready;
    const session = await sessions.startNew({ name: 'n', path: 'direct.ipynb', type: 'notebook', kernel: { name: 'stub' } });
    saw.sessionCell = (await run(session.kernel, 'print in a session')).text;
    await session.setPath('moved.ipynb');
    const found = await sessions.findByPath('moved.ipynb');
    saw.sessionMoved = found?.id === session.id;
    await session.changeKernel({ name: 'stub-message' });
    saw.sessionKernel = session.kernel.name;
    saw.sessionCellAfter = (await run(session.kernel, 'print changed')).text;
    await session.shutdown();
    await sessions.refreshRunning();
    saw.sessionsLeft = [...sessions.running()].filter(one => one.path === 'moved.ipynb').length;
    sessions.dispose();
  },
};

const kernels = new KernelManager({ serverSettings });
await kernels.ready;
const shared = { kernels, kernel: await kernels.startNew({ name: 'stub' }) };
for (const [name, step] of Object.entries(steps)) {
  try {
    await step.call(shared);
  } catch (error) {
    saw.failed = `${name}: ${error.stack ?? error}`;
    break;
  }
}
process.stdout.write(JSON.stringify(saw) + '\n', () => process.exit(0));
