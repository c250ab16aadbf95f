/** Most items that one call takes: a script blocks Redis for some 30 µs each. */
const MAX_ITEMS = 64;

/**
 * Sends what is asked for while a call is on its way together with the next one, in order: the busier Redis is, the more go
 * together, and a single one waits for nobody.
 */
export class CallGatherer<Item, Answer> {
  readonly #send: (items: Item[]) => Promise<readonly Answer[]>;
  #waiting: { item: Item; resolve: (answer: Answer | undefined) => void; reject: (error: unknown) => void }[] = [];
  #isSending = false;

  constructor(send: (items: Item[]) => Promise<readonly Answer[]>) {
    this.#send = send;
  }

  call(item: Item): Promise<Answer | undefined> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject });
      if (this.#isSending) return;
      this.#isSending = true;
      setImmediate(() => void this.#sendAll());
    });
  }

  async #sendAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, MAX_ITEMS);
      try {
        const answers = await this.#send(batch.map(({ item }) => item));
        for (const [index, { resolve }] of batch.entries()) resolve(answers[index]);
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#isSending = false;
  }
}
