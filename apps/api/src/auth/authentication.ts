import { Problem } from '@onqueue/shared';
import type { RequestHandler } from 'express';
import type { Authenticator } from './authenticator.ts';
import { requiredScope } from './required-scope.ts';

/** Lets a request go on when its key allows it, before anything of its body is read. */
export function authentication(authenticator: Pick<Authenticator, 'identify'>): RequestHandler {
  return async (request, response, next) => {
    const scope = requiredScope(request.method, request.path);
    if (scope === undefined) {
      next();
      return;
    }
    const caller = await authenticator.identify(request.headers.authorization);
    response.locals.caller = caller;
    if (!caller.scopes.includes(scope)) {
      throw new Problem('insufficient_scope', `The API key lacks the scope \`${scope}\`.`, {
        challenge: `Bearer error="insufficient_scope", scope="${scope}"`,
      });
    }
    next();
  };
}
