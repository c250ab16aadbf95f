import { Worker } from 'node:worker_threads';
import { ortEngine } from './ort-engine.ts';
import { offerToOutOfMemoryKiller } from './out-of-memory.ts';
import { removeOwnFolder } from './runner-folder.ts';
import { type ReceivedMessage, type RunnerMessage, supervisorMessage } from './runner-protocol.ts';
import { RunnerService } from './runner-service.ts';

/**
 * The entry of a runner: a child process that holds one session of one model version, because a session blocks its
 * thread and can be stopped in no other way than by killing its process.
 */

// Ctrl-C and service managers signal the whole group; when a runner ends is the supervisor's decision.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);

// A runner never outlives its supervisor, not even one that hangs in the engine and sees no `disconnect`.
new Worker(new URL('./runner-lifeline.js', import.meta.url)).unref();
process.on('disconnect', () => process.exit(0));
process.on('exit', removeOwnFolder);

// Whatever a model needs, the kernel ends its runner before it ends a supervisor or a Redis.
offerToOutOfMemoryKiller();

const service = new RunnerService({ engine: ortEngine, send });

/** Messages are handled in their order, one at a time; only that nobody wants a batch is better known before its turn. */
let previous = Promise.resolve();
process.on('message', (raw) => {
  const message = supervisorMessage.parse(raw);
  if (message.type === 'drop') service.drop(message);
  else previous = previous.then(() => handle(message));
});

async function handle(message: Exclude<ReceivedMessage, { type: 'drop' }>): Promise<void> {
  if (message.type === 'load') return service.load(message);
  if (message.type === 'inspect') return service.inspect(message);
  if (message.type === 'outline') return service.outline(message);
  if (message.type === 'run') return service.run(message);
  if (message.type === 'probe') return service.probe(message);
  if (message.type === 'ping') return send({ type: 'pong' });
  await service.release();
  process.exit(0);
}

/** Waits until the pipe has it all: the next batch blocks this process, and with it whatever is not written yet. */
function send(message: RunnerMessage): Promise<void> {
  return new Promise((resolve) => {
    // An error here means that the supervisor is gone, and `disconnect` follows.
    process.send?.(message, undefined, undefined, () => resolve());
  });
}
