import { Socket } from 'node:net';
import { removeOwnFolder } from './runner-folder.ts';

/**
 * A thread of the runner that only waits for its supervisor to end: the runner's stdin is a pipe that nobody writes to,
 * and that the kernel closes when the supervisor dies, however it dies. The main thread may be inside the engine for
 * ever at that moment, so the whole process is killed from here.
 */
const STDIN = 0;

new Socket({ fd: STDIN, readable: true, writable: false })
  .resume()
  .on('error', () => undefined)
  .on('close', () => {
    removeOwnFolder();
    process.kill(process.pid, 'SIGKILL');
  });
