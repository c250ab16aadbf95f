import { type ApiKeyLimits, type ApiKeyScope, type AuditActor, DEFAULT_TENANT } from '@onqueue/shared';
import type { Response } from 'express';

/** Who asks: whose data it is about, and what the key allows. */
export interface Caller {
  tenant: string;
  /** Undefined where no keys are asked for. */
  keyId: string | undefined;
  scopes: readonly ApiKeyScope[];
  limits: ApiKeyLimits;
}

/** Everybody, where no keys are asked for. */
const ANYBODY: Caller = { tenant: DEFAULT_TENANT, keyId: undefined, scopes: [], limits: {} };

export function callerOf({ locals }: Response): Caller {
  return (locals.caller as Caller | undefined) ?? ANYBODY;
}

export function tenantOf(response: Response): string {
  return callerOf(response).tenant;
}

/** For the audit log. */
export function actorOf(response: Response): AuditActor {
  return { requestId: response.locals.requestId as string, keyId: callerOf(response).keyId };
}
