import { Agent } from 'node:http';
import fetch from 'node-fetch';
import { answerParent } from '../bench-child.ts';
import { bareSenderQuestion } from './bare-sender-protocol.ts';

/** The baseline: so many loops of node-fetch over kept connections. Nothing is signed, guarded, stored or tried again. */
answerParent(async (message) => {
  const { url, count, concurrency, body } = bareSenderQuestion.parse(message);
  const agent = new Agent({ keepAlive: true });
  let next = 0;
  const loop = async () => {
    for (let i = next++; i < count; i = next++) {
      const response = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'webhook-id': `bare_${performance.now()}_${i}` },
        body,
        agent,
      });
      if (!response.ok) throw new Error(`The receiver answered ${response.status}.`);
      await response.arrayBuffer();
    }
  };
  await Promise.all(Array.from({ length: concurrency }, loop));
  agent.destroy();
  return { sent: count };
});
