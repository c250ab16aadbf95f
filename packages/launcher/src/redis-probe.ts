import { connect } from 'node:net';

/**
 * `ready` when the server on the port answers PING and is the process that we started; `loading` while it reads its
 * append-only file; `stranger` when somebody else was faster with the port; `down` when nobody answers.
 */
export type RedisState = 'ready' | 'loading' | 'stranger' | 'down';

/** Asks over a bare socket, so that the launcher needs no Redis client. */
export function probeRedis(port: number, pid: number, timeoutMs = 250): Promise<RedisState> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    let answer = '';
    const finish = (state: RedisState) => {
      socket.destroy();
      resolve(state);
    };
    socket.setTimeout(timeoutMs, () => finish('down'));
    socket.on('error', () => finish('down'));
    socket.on('close', () => finish('down'));
    socket.on('connect', () => socket.write('INFO server\r\nPING\r\n'));
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      answer += chunk;
      const ping = /(?:^|\r\n)(\+PONG|-[^\r\n]*)\r\n$/.exec(answer)?.[1];
      if (ping === undefined) return;
      const answering = /\bprocess_id:(\d+)/.exec(answer)?.[1];
      if (answering !== undefined && Number(answering) !== pid) finish('stranger');
      else if (ping === '+PONG' && answering !== undefined) finish('ready');
      else if (ping.startsWith('-LOADING')) finish('loading');
      else finish('stranger');
    });
  });
}
