import { isPortFree } from '@onqueue/launcher';
import { z } from 'zod';
import type { ApiClient } from '../api/api-client.ts';
import { ApiError } from '../api/api-client.ts';
import type { Finding } from './finding.ts';
import { durabilityFinding } from './redis-check.ts';

const readiness = z.looseObject({
  status: z.string(),
  redis: z.looseObject({ detail: z.string().optional(), durability: z.string().optional() }).optional(),
});

export interface ApiCheckOptions {
  api: ApiClient;
  /** Whether somebody named it, and so means it to be there. */
  isExpected: boolean;
}

export interface ApiCheck {
  isUp: boolean;
  findings: Finding[];
}

export async function checkApi({ api, isExpected }: ApiCheckOptions): Promise<ApiCheck> {
  const check = 'api';
  try {
    const { body, status } = await api.request('GET', '/readyz');
    const parsed = readiness.safeParse(body);
    if (!parsed.success) {
      const message = `${api.baseUrl} answers ${status}, and not as the API of onqueue`;
      const remedy = 'Something else listens there: set ONQUEUE_PORT or ONQUEUE_API_URL to another port.';
      return { isUp: false, findings: [{ check, status: 'error', message, remedy }] };
    }
    const { status: state, redis } = parsed.data;
    if (status === 200) {
      const findings: Finding[] = [{ check, status: 'ok', message: `${api.baseUrl} is ${state}` }];
      const durability = durabilityOf(redis?.durability);
      if (durability) findings.push(durability);
      return { isUp: true, findings };
    }
    const message = `${api.baseUrl} is ${state}${redis?.detail ? `: ${redis.detail}` : ''}`;
    const remedy = 'It takes jobs again by itself when Redis is back; what is wrong with Redis stands above.';
    return { isUp: true, findings: [{ check, status: 'error', message, remedy }] };
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    const [message = ''] = error.message.split('. Start it');
    const remedy = 'Start it with npm start, or name another with --api-url or ONQUEUE_API_URL.';
    return { isUp: false, findings: [{ check, status: isExpected ? 'error' : 'info', message, remedy }] };
  }
}

/** Of the Redis that the API has, which may be one of its own. */
function durabilityOf(durability: string | undefined): Finding | undefined {
  const known = ['durable', 'default', 'volatile', 'unknown'] as const;
  const found = known.find((name) => name === durability);
  if (found === undefined) return undefined;
  const finding = durabilityFinding({ durability: found });
  return { ...finding, check: 'api redis' };
}

export interface PortCheckOptions {
  name: 'api port' | 'worker port';
  variable: string;
  host: string;
  port: number;
  /** Whether it is taken by what it is for. */
  isOurs: boolean;
}

export async function checkPort({ name: check, variable, host, port, isOurs }: PortCheckOptions): Promise<Finding> {
  if (port === 0) return { check, status: 'ok', message: 'any free one' };
  if (await isPortFree(port, host)) return { check, status: 'ok', message: `${host}:${port} is free` };
  if (isOurs) return { check, status: 'ok', message: `${host}:${port} is taken, by onqueue` };
  return {
    check,
    status: 'error',
    message: `${host}:${port} is taken by something else, or cannot be listened on`,
    remedy: `Set ${variable} to a free port, or end what listens there.`,
  };
}

/** Whether what listens there is a worker of ours: it tells the models that it has. */
export async function isWorker(host: string, port: number): Promise<boolean> {
  try {
    const response = await fetch(`http://${host}:${port}/readyz`, { signal: AbortSignal.timeout(PROBE_MS) });
    const body: unknown = await response.json();
    return z.looseObject({ status: z.string(), models: z.array(z.unknown()) }).safeParse(body).success;
  } catch {
    return false;
  }
}

const PROBE_MS = 2000;
