import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from '@jest/globals';
import { loadConfig, SETTINGS } from '@onqueue/shared';
import { Ajv2019 } from 'ajv/dist/2019.js';
import { parse } from 'yaml';

interface Service {
  image?: string;
  build?: { context: string; dockerfile: string; target: string };
  command?: string[];
  environment?: Record<string, string>;
  ports?: string[];
  volumes?: string[];
  tmpfs?: string;
  depends_on?: Record<string, { condition: string }>;
  healthcheck: { test: string[] };
  stop_grace_period?: string;
  restart: string;
  read_only?: boolean;
}

const root = fileURLToPath(new URL('..', import.meta.url));
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const compose = parse(read('docker-compose.yml')) as {
  services: Record<'redis' | 'api' | 'worker', Service>;
  volumes: Record<string, unknown>;
};
const { redis, api, worker } = compose.services;
const dockerfile = read('deploy/Dockerfile');

describe('docker-compose.yml', () => {
  const isValid = composeValidator();

  test('obeys the schema of the Compose Specification', () => {
    expect(isValid(compose)).toEqual([]);
  });

  test('the schema refuses what Compose would refuse', () => {
    const withService = (service: object) => ({ services: { api: { ...api, ...service } } });
    expect(isValid(withService({ healthchek: {} }))).not.toEqual([]);
    expect(isValid(withService({ restart: true }))).not.toEqual([]);
    expect(isValid(withService({ healthcheck: { interval: 'often' } }))).not.toEqual([]);
  });

  test('Redis keeps an append-only file on a volume, synced every second, and evicts nothing', () => {
    const options = redisOptions(redis.command ?? []);
    expect(options).toMatchObject({ appendonly: 'yes', appendfsync: 'everysec', 'maxmemory-policy': 'noeviction' });
    expect(options.maxmemory).toMatch(/^\d+[mg]b$/);
    expect(redis.volumes).toEqual(['redis-data:/data']);
    expect(compose.volumes).toHaveProperty('redis-data');
  });

  test('Redis is reachable from inside only, and the API from this machine only', () => {
    expect(redis.ports).toBeUndefined();
    expect(worker.ports).toBeUndefined();
    expect(api.ports).toEqual(['127.0.0.1:8080:8080']);
  });

  test('every service is watched and comes back, and Redis is healthy before the others start', () => {
    for (const { restart, healthcheck } of [redis, api, worker]) {
      expect(restart).toBe('unless-stopped');
      expect(healthcheck.test[0]).toMatch(/^CMD/);
    }
    for (const { depends_on } of [api, worker]) expect(depends_on?.redis?.condition).toBe('service_healthy');
  });

  test('the probes ask the port that the process listens on', () => {
    expect(probeUrl(api)).toBe(`http://127.0.0.1:${api.environment?.ONQUEUE_PORT}/readyz`);
    expect(probeUrl(worker)).toBe(`http://127.0.0.1:${worker.environment?.ONQUEUE_WORKER_PORT}/readyz`);
  });

  test('every variable is a setting with a value that is allowed', () => {
    for (const { environment = {} } of [api, worker]) {
      const known = new Set<string>(Object.values(SETTINGS).map(({ env }) => env));
      expect(Object.keys(environment).filter((name) => !known.has(name))).toEqual([]);
      expect(() => loadConfig(withoutShellVariables(environment))).not.toThrow();
    }
  });

  test('API and worker sign with the same secret', () => {
    expect(api.environment?.ONQUEUE_WEBHOOK_SECRET).toMatch(/^\$\{ONQUEUE_WEBHOOK_SECRET:-\}$/);
    expect(worker.environment?.ONQUEUE_WEBHOOK_SECRET).toBe(api.environment?.ONQUEUE_WEBHOOK_SECRET);
  });

  test('a container is given more time to stop than its process takes to drain', () => {
    const drain = (service: Service) => loadConfig(withoutShellVariables(service.environment ?? {}));
    const { apiDrainDelayMs, apiDrainTimeoutMs } = drain(api);
    expect(milliseconds(api.stop_grace_period)).toBeGreaterThan(apiDrainDelayMs + apiDrainTimeoutMs);
    expect(milliseconds(worker.stop_grace_period)).toBeGreaterThan(drain(worker).workerDrainTimeoutMs);
  });

  test('the worker reads the models from a folder that it cannot write', () => {
    const folder = worker.environment?.ONQUEUE_MODELS_DIR;
    expect(worker.volumes).toEqual([`./models:${folder}:ro`]);
    expect(statSync(join(root, 'models')).isDirectory()).toBe(true);
    expect(worker.read_only).toBe(true);
    // Runners make their working folders there.
    expect(worker.tmpfs).toBe('/tmp');
  });

  test('builds targets that deploy/Dockerfile has', () => {
    for (const { build } of [api, worker]) {
      expect(build).toMatchObject({ context: '.', dockerfile: 'deploy/Dockerfile' });
      expect(stages()).toContain(build?.target);
    }
  });
});

describe('deploy/Dockerfile', () => {
  test('runs both apps as a user without rights, with Node as the first process', () => {
    for (const target of ['api', 'worker']) {
      const chain = instructionsOf(target);
      const user = chain.findLast(([name]) => name === 'USER')?.[1];
      expect(user).toBe('node');
      const command = chain.findLast(([name]) => name === 'CMD')?.[1] ?? '';
      expect(JSON.parse(command)).toEqual(['node', '--enable-source-maps', `apps/${target}/dist/main.js`]);
      expect(existsSync(join(root, `apps/${target}/src/main.ts`))).toBe(true);
    }
  });

  test('copies only what is in the repository and is not ignored', () => {
    const sources = contextSources();
    expect(sources.length).toBeGreaterThan(0);
    const allowed = read('.dockerignore').match(/(?<=^!).+$/gm) ?? [];
    for (const source of sources) {
      expect([source, existsSync(join(root, source))]).toEqual([source, true]);
      expect(allowed).toContain(source.split('/')[0]);
    }
  });

  test('gives npm the package.json of every workspace, without which the lock would not fit', () => {
    const lock = JSON.parse(read('package-lock.json')) as {
      packages: Record<string, { link?: boolean; resolved?: string }>;
    };
    const workspaces = Object.values(lock.packages).flatMap(({ link, resolved }) =>
      link && resolved ? [resolved] : [],
    );
    expect(workspaces).toContain('apps/api');
    expect(contextSources()).toEqual(expect.arrayContaining(workspaces.map((folder) => `${folder}/package.json`)));
  });

  test('runs the Node that package.json asks for', () => {
    const { engines } = JSON.parse(read('package.json')) as { engines: { node: string } };
    const wanted = /^>=(\d+)/.exec(engines.node)?.[1];
    const images = [...dockerfile.matchAll(/^FROM (node:\S+)/gm)].map(([, image]) => image);
    expect(new Set(images)).toEqual(new Set([`node:${wanted}-bookworm-slim`]));
  });
});

/** The faults that the schema finds, in words. */
function composeValidator(): (document: unknown) => string[] {
  // `id` is the word of an older draft for what the schema does not use; Ajv refuses it.
  const schema = JSON.parse(read('test/support/compose-spec.json'), (key, value: unknown) =>
    key === 'id' && typeof value === 'string' ? undefined : value,
  ) as { $schema?: string };
  // The draft is that of the Ajv class; it knows it under another URL.
  delete schema.$schema;
  const ajv = new Ajv2019({
    strict: false,
    allErrors: true,
    formats: {
      // Compose's own durations, such as 1m30s; JSON schema's are ISO 8601.
      duration: /^(\d+(\.\d+)?(us|ms|s|m|h))+$/,
      ports: /^[\d.:[\]a-f-]+(\/(tcp|udp))?$/,
      expose: /^\d+(-\d+)?(\/(tcp|udp))?$/,
      subnet_ip_address: true,
    },
  });
  const validate = ajv.compile(schema);
  return (document) =>
    validate(document) ? [] : (validate.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message}`);
}

function redisOptions([program, ...args]: readonly string[]): Record<string, string> {
  expect(program).toBe('redis-server');
  const pairs = Array.from({ length: args.length / 2 }, (_, i) => [args[2 * i]?.replace(/^--/, ''), args[2 * i + 1]]);
  return Object.fromEntries(pairs);
}

function probeUrl({ healthcheck }: Service): string | undefined {
  const [kind, program, flag, script = ''] = healthcheck.test;
  expect([kind, program, flag]).toEqual(['CMD', 'node', '-e']);
  return /fetch\('([^']+)'\)/.exec(script)?.[1];
}

/** As it is when the shell that calls docker compose sets nothing. */
function withoutShellVariables(environment: Record<string, string>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(environment).map(([name, value]) => [name, value.replace(/^\$\{[A-Z_]+:-(.*)\}$/, '$1')]),
  );
}

function milliseconds(duration: string | undefined): number {
  const [, seconds] = /^(\d+)s$/.exec(duration ?? '') ?? [];
  return Number(seconds) * 1000;
}

/** [instruction, arguments] in order; comments dropped, continued lines joined. */
function instructions(): [string, string][] {
  const lines = dockerfile.replaceAll(/\\\n\s*/g, '').split('\n');
  return lines
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const blank = line.indexOf(' ');
      return [line.slice(0, blank), line.slice(blank + 1)];
    });
}

function stages(): string[] {
  return [...dockerfile.matchAll(/^FROM \S+ AS (\S+)$/gm)].map(([, name]) => String(name));
}

/** The instructions of a stage, those of the stages that it is made from first. */
function instructionsOf(stage: string): [string, string][] {
  const all = instructions();
  const start = all.findIndex(([name, text]) => name === 'FROM' && text.endsWith(` AS ${stage}`));
  if (start < 0) return [];
  const end = all.findIndex(([name], index) => index > start && name === 'FROM');
  const parent = all[start]?.[1].split(' ')[0] ?? '';
  return [...instructionsOf(parent), ...all.slice(start, end < 0 ? undefined : end)];
}

/** What is copied out of the repository. */
function contextSources(): string[] {
  return instructions()
    .filter(([name, text]) => name === 'COPY' && !text.startsWith('--from='))
    .flatMap(([, text]) => text.split(' ').slice(0, -1));
}
