import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { type ClaimedJob, newJobId } from '@onqueue/shared';
import { parseQueueJobId } from '@onqueue/shared/redis';
import { SeededRandom } from './faults/support/seeded-random.ts';
import { SourceBench, success } from './support/job-source-bench.ts';

/** Whatever happens in whatever order: every job ends once, tenants keep their order, and nobody gets ahead of the others. */

const QUEUE = 'fraud.interactive';
const WAIT = `oq:{0}:bull:${QUEUE}:wait`;
const WEIGHTS = { a: 1, b: 3, c: 0.5, d: 1 } as const;
type Tenant = keyof typeof WEIGHTS;
const TENANTS = Object.keys(WEIGHTS) as Tenant[];
const PAIRS = TENANTS.flatMap((one) => TENANTS.filter((two) => one < two).map((two): [Tenant, Tenant] => [one, two]));
const MAX_ROWS = 7;
const STEPS = 600;

let bench: SourceBench;

beforeAll(async () => {
  bench = await SourceBench.start();
});

afterAll(async () => {
  await bench?.close();
});

afterEach(async () => {
  await bench.reset();
});

test.each([1, 2, 3, 4, 5, 6, 7, 8])(
  'any interleaving of enqueue, claim, end, cancel and feed (seed %i)',
  async (seed) => {
    const scene = new ShareScene(new SeededRandom(seed));
    await scene.prepare();
    for (let step = 0; step < STEPS; step++) await scene.step();
    await scene.finish();

    expect(scene.ends).toBe(scene.jobs.size);
    const { size: finishedJobs } = scene.jobs;
    expect(await bench.store.backlog('fraud')).toMatchObject({ jobs: 0, rows: 0, bytes: 0, finishedJobs });
    const arrivals = [...scene.jobs.keys()];
    for (const tenant of TENANTS) {
      const order = scene.claimed.filter((job) => job.tenant === tenant).map(({ id }) => arrivals.indexOf(id));
      expect(order).toEqual([...new Set(order)].toSorted((one, two) => one - two));
    }
    expect(scene.comparisons).toBeGreaterThan(100);
    expect(await bench.redis.keys('oq:{0}:shares:*')).toEqual([]);
  },
);

interface SceneJob {
  tenant: Tenant;
  rows: number;
  isCanceled: boolean;
}

/** Tenants, a worker's claims and ends, and what the feeds owe to each pair of tenants, all by chance. */
class ShareScene {
  readonly jobs = new Map<string, SceneJob>();
  readonly claimed: ClaimedJob[] = [];
  ends = 0;
  /** How often two tenants were compared that were both parked all the while. */
  comparisons = 0;
  readonly #random: SeededRandom;
  readonly #limit: number;
  readonly #inHand: ClaimedJob[] = [];
  readonly #placed = new Set<string>();
  /** Rows by weight of one of a pair less those of the other, and how far apart they may come. */
  readonly #pairs = new Map<string, { ahead: number; allowed: number }>();

  constructor(random: SeededRandom) {
    this.#random = random;
    this.#limit = random.between(1, 12);
  }

  async prepare(): Promise<void> {
    for (const tenant of TENANTS) await bench.store.setWeight(tenant, WEIGHTS[tenant]);
    await this.#feed();
  }

  async step(): Promise<void> {
    const before = await parkedTenants();
    await this.#act(this.#random.next());
    await this.#compare(before);
  }

  async finish(): Promise<void> {
    while ((await bench.redis.llen(WAIT)) + (await bench.parked()) > 0) {
      await this.#claim();
      await this.#feed();
    }
    while (this.#inHand.length > 0) await this.#end();
    await this.#feed();
  }

  #act(choice: number): Promise<void> {
    if (choice < 0.5 || this.jobs.size === 0) return this.#enqueue();
    if (choice < 0.7) return this.#claim();
    if (choice < 0.87) return this.#end();
    return choice < 0.93 ? this.#cancel() : this.#feed();
  }

  async #enqueue(): Promise<void> {
    const tenant = this.#random.oneOf(TENANTS);
    const rows = this.#random.between(1, MAX_ROWS);
    const id = newJobId({ createdAtMs: Date.now(), partition: 0 });
    this.jobs.set(id, { tenant, rows, isCanceled: false });
    await bench.enqueue({ id, tenant, inputs: Array.from({ length: rows }, () => ({ amount: 1 })) });
  }

  /** What a worker does: out of BullMQ's list, and a claim of our record. */
  async #claim(): Promise<void> {
    const queueJobs = (await bench.redis.rpop(WAIT, this.#random.between(1, 2))) ?? [];
    if (queueJobs.length === 0) return;
    await bench.redis.del(...queueJobs.map((queueJob) => `oq:{0}:bull:${QUEUE}:${queueJob}`));
    const refs = queueJobs.map(parseQueueJobId).map(({ id, run }) => {
      return { id, run, tenant: this.#job(id).tenant, partition: 0 };
    });
    for (const outcome of await bench.store.claim(refs)) {
      if (outcome.status !== 'claimed') throw new Error(`${outcome.status}: a canceled job stayed in the queue`);
      this.claimed.push(outcome.job);
      this.#inHand.push(outcome.job);
    }
  }

  async #end(): Promise<void> {
    const job = this.#inHand.shift();
    if (!job) return;
    const [outcome] = await bench.store.commit([{ job, outcome: success }]);
    expect(outcome?.status).toBe(this.#job(job.id).isCanceled ? 'fenced' : 'committed');
    if (outcome?.status === 'committed') this.ends += 1;
  }

  async #cancel(): Promise<void> {
    const [id, job] = this.#random.oneOf([...this.jobs]);
    if (job.isCanceled) return;
    const { status } = await bench.store.cancel(job.tenant, id);
    if (status !== 'canceled') return;
    job.isCanceled = true;
    this.ends += 1;
  }

  #feed(): Promise<void> {
    return bench.store.feed(0, [{ model: 'fraud', lane: 'interactive', limit: this.#limit }]);
  }

  /** Start-time fair queueing keeps two tenants within their largest jobs, for as long as both are parked. */
  async #compare(before: ReadonlySet<Tenant>): Promise<void> {
    const waiting = (await bench.redis.lrange(WAIT, 0, -1)).reverse();
    expect(waiting.length).toBeLessThanOrEqual(this.#limit);
    const fed = waiting.filter((queueJob) => !this.#placed.has(queueJob)).map((queueJob) => this.#jobOf(queueJob));
    for (const queueJob of waiting) this.#placed.add(queueJob);
    const after = await parkedTenants();
    for (const [one, two] of PAIRS) {
      const pair = one + two;
      const known = this.#pairs.get(pair);
      if (![one, two].every((tenant) => before.has(tenant) && after.has(tenant)) || !known) {
        this.#pairs.set(pair, await apart(one, two));
        continue;
      }
      known.ahead += fed.reduce((sum, job) => sum + gain(job, one) - gain(job, two), 0);
      expect(Math.abs(known.ahead)).toBeLessThanOrEqual(known.allowed);
      known.allowed = allowance(one, two, known.ahead);
      this.comparisons += 1;
    }
  }

  #jobOf(queueJob: string): SceneJob {
    return this.#job(parseQueueJobId(queueJob).id);
  }

  #job(id: string): SceneJob {
    const job = this.jobs.get(id);
    if (!job) throw new Error(`${id} was never enqueued`);
    return job;
  }
}

/** As far as one is ahead by what it had in the wait list before: that is evened out first. */
async function apart(one: Tenant, two: Tenant): Promise<{ ahead: number; allowed: number }> {
  const times = await bench.redis.zmscore(bench.keys.turns(0, QUEUE), one, two);
  const ahead = Number(times[0] ?? 0) - Number(times[1] ?? 0);
  return { ahead, allowed: allowance(one, two, ahead) };
}

function allowance(one: Tenant, two: Tenant, ahead: number): number {
  return Math.max(Math.abs(ahead), MAX_ROWS / WEIGHTS[one] + MAX_ROWS / WEIGHTS[two]);
}

function gain(job: SceneJob, tenant: Tenant): number {
  return job.tenant === tenant ? job.rows / WEIGHTS[tenant] : 0;
}

async function parkedTenants(): Promise<ReadonlySet<Tenant>> {
  const counts = await Promise.all(
    TENANTS.map((tenant) => bench.redis.zcard(`oq:{0}:shares:${QUEUE}:parked:${tenant}`)),
  );
  return new Set(TENANTS.filter((_, index) => Number(counts[index]) > 0));
}
