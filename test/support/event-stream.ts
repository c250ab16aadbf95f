/** One event of a stream, as the client of Server-Sent Events sees it. */
export interface StreamedEvent {
  id: string | undefined;
  type: string;
  data: Record<string, unknown> & { job: Record<string, unknown> | null };
}

export interface EventStream {
  status: number;
  headers: Headers;
  /** Those that have come so far. */
  readonly events: readonly StreamedEvent[];
  readonly comments: readonly string[];
  /** Resolves with the first `count` events once there are as many. */
  first(count: number): Promise<StreamedEvent[]>;
  /** Resolves once so many comments have come. */
  commented(count: number): Promise<void>;
  /** Resolves with all events when the server has closed the stream. */
  ended: Promise<StreamedEvent[]>;
  close(): void;
}

/** Reads a stream of Server-Sent Events until it is closed. */
export async function openEventStream(url: string, headers: Record<string, string> = {}): Promise<EventStream> {
  const controller = new AbortController();
  const response = await fetch(url, { headers, signal: controller.signal });
  const events: StreamedEvent[] = [];
  const comments: string[] = [];
  const checks = new Set<() => void>();
  const until = (isTrue: () => boolean) =>
    new Promise<void>((resolve) => {
      const check = () => {
        if (!isTrue()) return;
        checks.delete(check);
        resolve();
      };
      checks.add(check);
      check();
    });
  async function read(): Promise<StreamedEvent[]> {
    let text = '';
    const decoder = new TextDecoder();
    for await (const chunk of response.body ?? []) {
      text += decoder.decode(chunk as Uint8Array, { stream: true });
      const blocks = text.split('\n\n');
      text = blocks.pop() ?? '';
      for (const block of blocks) {
        const lines = block.split('\n').map((line) => line.split(/: ?(.*)/s) as [string, string?]);
        const value = (name: string) => lines.find(([field]) => field === name)?.[1];
        const data = value('data');
        if (data !== undefined) events.push({ id: value('id'), type: value('event') ?? '', data: JSON.parse(data) });
        comments.push(...lines.filter(([field]) => field === '').map(([, comment = '']) => comment));
      }
      for (const check of checks) check();
    }
    return events;
  }
  const ended = read();
  ended.catch(() => {
    // Closed by the test.
  });
  return {
    status: response.status,
    headers: response.headers,
    events,
    comments,
    first: async (count) => {
      await until(() => events.length >= count);
      return events.slice(0, count);
    },
    commented: (count) => until(() => comments.length >= count),
    ended,
    close: () => controller.abort(),
  };
}
