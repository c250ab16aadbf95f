import { ortEngine } from '../../../apps/worker/dist/runner/ort-engine.js';
import { RunnerService } from '../../../apps/worker/dist/runner/runner-service.js';

/** Loads one model after the other as a runner does, and says how far each one came. */

let session;
let isOpened = false;
const engine = {
  ...ortEngine,
  load: async (path, options) => {
    isOpened = true;
    session = await ortEngine.load(path, options);
    return session;
  },
};

process.on('message', async ({ id, message }) => {
  session = undefined;
  isOpened = false;
  let answer;
  const service = new RunnerService({
    engine,
    send: async (sent) => {
      answer = sent;
    },
  });
  await service.load(message);
  const names = session && {
    inputs: session.inputs.map(({ name }) => name),
    outputs: session.outputs.map(({ name }) => name),
  };
  await session?.release();
  process.send({ id, type: answer.type, detail: answer.detail ?? '', isOpened, names });
});
process.on('disconnect', () => process.exit(0));
