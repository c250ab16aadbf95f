import { describe, expect, test } from '@jest/globals';
import { ConfigError, loadConfig, SETTINGS, unknownSettings } from './config.ts';

describe('loadConfig', () => {
  test('has a default for everything but those that have none', () => {
    const config = loadConfig({});
    const unset = Object.entries(config).flatMap(([key, value]) => (value === undefined ? [key] : []));
    expect(unset).toEqual([
      'otlpEndpoint',
      'publicUrl',
      'webhookSecret',
      'cacheDir',
      'runnerMemoryLimitBytes',
      'blobDir',
      's3Bucket',
      's3Endpoint',
    ]);
    expect(config).toMatchObject({
      redisUrl: 'redis://127.0.0.1:6379',
      port: 8080,
      models: [],
      webhookAllowHttp: false,
    });
  });

  test('reads numbers, lists and flags', () => {
    expect(
      loadConfig({
        ONQUEUE_PORT: '9000',
        ONQUEUE_MODELS: 'fraud, digits',
        ONQUEUE_WEBHOOK_ALLOW_HTTP: 'true',
        ONQUEUE_WEBHOOK_SCHEDULE_MS: '0,10',
        ONQUEUE_PUBLIC_URL: 'https://jobs.example/',
      }),
    ).toMatchObject({
      port: 9000,
      models: ['fraud', 'digits'],
      webhookAllowHttp: true,
      webhookScheduleMs: [0, 10],
      publicUrl: 'https://jobs.example',
    });
  });

  test('reads a number for each service class, all of them and positive', () => {
    const read = (text: string) => loadConfig({ ONQUEUE_SERVICE_PRICES: text }).servicePrices;
    expect(read('batch=0.1, realtime=3,standard=1')).toEqual({ realtime: 3, standard: 1, batch: 0.1 });
    for (const wrong of ['realtime=1', 'realtime=1,standard=1,batch=0', 'realtime=1,standard=1,batch=x', '1,2,3']) {
      expect(() => read(wrong)).toThrow('ONQUEUE_SERVICE_PRICES');
    }
    expect(() => read('realtime=1,standard=1,batch=1,gold=1')).toThrow('ONQUEUE_SERVICE_PRICES');
  });

  test('takes an empty variable for an unset one', () => {
    expect(loadConfig({ ONQUEUE_PORT: '' }).port).toBe(8080);
  });

  test('names every wrong variable at once', () => {
    const env = {
      ONQUEUE_PORT: '70000',
      ONQUEUE_MAX_ROWS_PER_JOB: 'many',
      REDIS_URL: 'localhost',
      ONQUEUE_WEBHOOK_SECRET: 'x',
      ONQUEUE_WEBHOOK_ALLOW_CIDRS: '10.0.0.0/8, 10.0.0.0/33',
    };
    expect(() => loadConfig(env)).toThrow(ConfigError);
    for (const name of Object.keys(env)) expect(() => loadConfig(env)).toThrow(new RegExp(`^  ${name}: `, 'm'));
  });

  test('accepts the bounds of a limit and refuses what is beyond them', () => {
    expect(loadConfig({ ONQUEUE_MAX_WAIT_S: '1' }).maxWaitS).toBe(1);
    expect(loadConfig({ ONQUEUE_MAX_WAIT_S: '300' }).maxWaitS).toBe(300);
    expect(() => loadConfig({ ONQUEUE_MAX_WAIT_S: '0' })).toThrow('ONQUEUE_MAX_WAIT_S');
    expect(() => loadConfig({ ONQUEUE_MAX_WAIT_S: '301' })).toThrow('ONQUEUE_MAX_WAIT_S');
  });

  test('takes execution providers in their order, and devices, and refuses what is neither', () => {
    expect(loadConfig({})).toMatchObject({
      executionProviders: ['cpu'],
      executionProviderFallback: 'none',
      gpuDevices: [],
    });
    expect(loadConfig({ ONQUEUE_EXECUTION_PROVIDERS: 'tensorrt, cuda', ONQUEUE_GPU_DEVICES: '1,0' })).toMatchObject({
      executionProviders: ['tensorrt', 'cuda'],
      gpuDevices: [1, 0],
    });
    for (const providers of ['gpu', 'cuda,cuda', ',']) {
      expect(() => loadConfig({ ONQUEUE_EXECUTION_PROVIDERS: providers })).toThrow('ONQUEUE_EXECUTION_PROVIDERS');
    }
    expect(() => loadConfig({ ONQUEUE_EXECUTION_PROVIDER_FALLBACK: 'cuda' })).toThrow('PROVIDER_FALLBACK');
    expect(() => loadConfig({ ONQUEUE_GPU_DEVICES: '-1' })).toThrow('ONQUEUE_GPU_DEVICES');
    expect(() => loadConfig({ ONQUEUE_GPU_DEVICES: '1024' })).toThrow('ONQUEUE_GPU_DEVICES');
    expect(loadConfig({ ONQUEUE_GPU_DEVICES: '1023' }).gpuDevices).toEqual([1023]);
  });

  test('has one variable per setting', () => {
    const names = Object.values(SETTINGS).map(({ env }) => env);
    expect(new Set(names).size).toBe(names.length);
  });

  test('tells what looks like a setting and is none', () => {
    expect(unknownSettings({ ONQUEUE_PROT: '1', ONQUEUE_PORT: '1', HOME: '/' })).toEqual(['ONQUEUE_PROT']);
  });
});
