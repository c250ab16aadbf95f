import { crc32, deflateSync } from 'node:zlib';

const [WIDTH, HEIGHT] = [24, 16];

/** Rows of one small made-up picture each, as PNG in base64: slopes of colour, so that channels, sides and ends are told apart. */
export function syntheticImageRows(count: number): { image: string }[] {
  return Array.from({ length: count }, (_, index) => ({ image: png(index) }));
}

function png(seed: number): string {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(WIDTH, 0);
  header.writeUInt32BE(HEIGHT, 4);
  // 8 bits, RGB.
  header.set([8, 2], 8);
  const pixels = Buffer.alloc(HEIGHT * (1 + WIDTH * 3));
  for (let y = 0; y < HEIGHT; y++) {
    for (let x = 0; x < WIDTH; x++) {
      const color = [(x * 255) / (WIDTH - 1), (y * 255) / (HEIGHT - 1), (seed * 97) % 256];
      // Each line begins with the number of its filter: 0, none.
      pixels.set(color.map(Math.round), y * (1 + WIDTH * 3) + 1 + x * 3);
    }
  }
  const parts = [chunk('IHDR', header), chunk('IDAT', deflateSync(pixels)), chunk('IEND', Buffer.alloc(0))];
  return Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), ...parts]).toString('base64');
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const [length, checksum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  checksum.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, checksum]);
}
