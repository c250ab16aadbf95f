import { parseWebhookSecret, verifyWebhook, WebhookVerificationError } from './standard-webhooks.ts';
import { parsePublicKey } from './webhook-key-pair.ts';

/** Remembers which events were received. */
export interface ReplayCache {
  /** Whether the id is new; from then on it is not, for at least so long. */
  add(id: string, ttlS: number): boolean | Promise<boolean>;
}

export interface WebhookVerifierOptions {
  /** `whsec_…`: the present one, and the one before while it is rotated. */
  secrets?: readonly string[];
  /** `whpk_…` */
  publicKeys?: readonly string[];
  /** How far the sender's clock and the network may be off. */
  toleranceS?: number;
  /** Where the ids are kept; in this process unless it is given. Several processes need one they share. */
  replayCache?: ReplayCache;
  /** Unix seconds. */
  now?: () => number;
}

export interface VerifiedWebhook {
  /** The event's; the same on every attempt. */
  id: string;
  type: string;
  timestamp: string;
  data: Record<string, unknown>;
}

type Headers = Readonly<Record<string, string | readonly string[] | undefined>>;

/**
 * For receivers: checks signature and age, and that an event comes once.
 *
 * @example
 * const verifier = new WebhookVerifier({ secrets: [process.env.WEBHOOK_SECRET] });
 * const event = await verifier.verify(request.headers, rawBody);
 */
export class WebhookVerifier {
  readonly #secrets;
  readonly #publicKeys;
  readonly #toleranceS: number;
  readonly #replayCache: ReplayCache;
  readonly #now: () => number;

  /** @throws Error for a key that cannot be read, or when there is none. */
  constructor(options: WebhookVerifierOptions) {
    const { secrets = [], publicKeys = [], toleranceS = 300, now = () => Date.now() / 1000 } = options;
    if (secrets.length + publicKeys.length === 0) throw new Error('a verifier needs a secret or a public key');
    this.#secrets = secrets.map(parseWebhookSecret);
    this.#publicKeys = publicKeys.map(parsePublicKey);
    this.#toleranceS = toleranceS;
    this.#now = now;
    this.#replayCache = options.replayCache ?? new MemoryReplayCache(now);
  }

  /**
   * `body`: the raw bytes, before any JSON parser.
   * @throws WebhookVerificationError with the reason; `replayed` is a good event that came before: answer it 2xx.
   */
  async verify(headers: Headers, body: string | Uint8Array): Promise<VerifiedWebhook> {
    const [secrets, publicKeys, toleranceS] = [this.#secrets, this.#publicKeys, this.#toleranceS];
    verifyWebhook({ headers, body, secrets, publicKeys, nowS: this.#now(), toleranceS });
    const id = String(Object.entries(headers).find(([name]) => name.toLowerCase() === 'webhook-id')?.[1]);
    // An attempt that is older than this is refused for its age.
    if (!(await this.#replayCache.add(id, 2 * toleranceS))) throw new WebhookVerificationError('replayed');
    return { id, ...(JSON.parse(Buffer.from(body).toString()) as Omit<VerifiedWebhook, 'id'>) };
  }
}

/** The oldest go first when there are more ids than this. */
const MAX_IDS = 100_000;

class MemoryReplayCache implements ReplayCache {
  readonly #untilS = new Map<string, number>();
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  add(id: string, ttlS: number): boolean {
    const nowS = this.#now();
    for (const [known, untilS] of this.#untilS) {
      if (untilS > nowS && this.#untilS.size < MAX_IDS) break;
      this.#untilS.delete(known);
    }
    if (this.#untilS.has(id)) return false;
    this.#untilS.set(id, nowS + ttlS);
    return true;
  }
}
