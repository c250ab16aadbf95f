export {
  type ChildService,
  type ChildServiceOptions,
  type LogTarget,
  lastWords,
  startChildService,
} from './child-service.ts';
export { exampleRequest } from './example-request.ts';
export { freePort, isPortFree, parsePort } from './free-port.ts';
export { type HttpAnswer, httpGet } from './http-get.ts';
export { LaunchError } from './launch-error.ts';
export { describeExit, type Exit } from './managed-process.ts';
export { type Platform, type PlatformOptions, startPlatform } from './platform.ts';
export { type RedisServer, type RedisServerOptions, startRedisServer } from './redis-server.ts';
export { repoRoot } from './repo-root.ts';
export { onShutdownSignals, type ShutdownHandlers } from './shutdown-signals.ts';
export { type StartPorts, start } from './start.ts';
export { unexpectedEnd } from './unexpected-end.ts';
export { keptWebhookSecret, newWebhookSecret } from './webhook-secret.ts';
