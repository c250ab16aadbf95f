/**
 * Tells whoever computes a job that its run has ended meanwhile: canceled, or beyond its timeout. Much lighter than an
 * AbortSignal, of which every job would need one and hardly any would use it.
 */
export class HaltSignal {
  #isHalted = false;
  #listener: (() => void) | undefined;

  get isHalted(): boolean {
    return this.#isHalted;
  }

  /** One listener; a later one takes the place of the earlier. */
  onHalt(listener: (() => void) | undefined): void {
    this.#listener = listener;
  }

  halt(): void {
    this.#isHalted = true;
    this.#listener?.();
  }
}
