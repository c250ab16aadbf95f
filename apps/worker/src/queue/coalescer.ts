/**
 * Gathers what is asked for one by one and does it many at a time: everything that comes within one turn of the event
 * loop goes into one call, at most `maxSize` items each.
 */
export class Coalescer<Item, Result> {
  readonly #perform: (items: readonly Item[]) => Promise<Result[]>;
  readonly #maxSize: number;
  #waiting: Waiting<Item, Result>[] = [];

  constructor({ perform, maxSize }: { perform: (items: readonly Item[]) => Promise<Result[]>; maxSize: number }) {
    this.#perform = perform;
    this.#maxSize = maxSize;
  }

  add(item: Item): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject });
      if (this.#waiting.length === 1) setImmediate(() => this.#flush());
    });
  }

  #flush(): void {
    const all = this.#waiting;
    this.#waiting = [];
    for (let at = 0; at < all.length; at += this.#maxSize) void this.#performGroup(all.slice(at, at + this.#maxSize));
  }

  async #performGroup(group: readonly Waiting<Item, Result>[]): Promise<void> {
    try {
      const results = await this.#perform(group.map(({ item }) => item));
      for (const [index, { resolve }] of group.entries()) resolve(results[index] as Result);
    } catch (error) {
      for (const { reject } of group) reject(error);
    }
  }
}

interface Waiting<Item, Result> {
  item: Item;
  resolve: (result: Result) => void;
  reject: (error: unknown) => void;
}
