import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';

/** Keeps secrets at rest: encrypted when there is a master key (AES-256-GCM), as they are without one. */
export interface SecretSeal {
  /** `owner` is bound to the text: it opens under no other. */
  seal(secret: string, owner: string): string;
  /** @throws Error when none of the master keys opens it, or it was changed. */
  open(sealed: string, owner: string): string;
}

/** The first key seals; all of them open, so that keys can be changed. 32 bytes each. */
export function createSecretSeal(masterKeys: readonly Uint8Array[]): SecretSeal {
  return {
    seal(secret, owner) {
      const [key] = masterKeys;
      if (!key) return `plain:${secret}`;
      const iv = randomBytes(IV_BYTES);
      const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(Buffer.from(owner));
      const text = Buffer.concat([cipher.update(secret, 'utf8'), cipher.final()]);
      return `aes-256-gcm:${Buffer.concat([iv, cipher.getAuthTag(), text]).toString('base64')}`;
    },
    open(sealed, owner) {
      if (sealed.startsWith('plain:')) return sealed.slice('plain:'.length);
      const bytes = Buffer.from(sealed.slice('aes-256-gcm:'.length), 'base64');
      const [iv, tag, text] = [
        bytes.subarray(0, IV_BYTES),
        bytes.subarray(IV_BYTES, HEAD_BYTES),
        bytes.subarray(HEAD_BYTES),
      ];
      for (const key of masterKeys) {
        const decipher = createDecipheriv('aes-256-gcm', key, iv, { authTagLength: TAG_BYTES });
        decipher.setAAD(Buffer.from(owner)).setAuthTag(tag);
        try {
          return Buffer.concat([decipher.update(text), decipher.final()]).toString();
        } catch {
          // Sealed with another key.
        }
      }
      throw new Error('a webhook secret cannot be opened: is ONQUEUE_WEBHOOK_MASTER_KEYS complete?');
    },
  };
}

/** Reads the base64 of 32 bytes. @throws Error that never quotes it. */
export function parseMasterKey(text: string): Buffer {
  const bytes = Buffer.from(text, 'base64');
  if (bytes.length !== 32) throw new Error(`a master key is the base64 of 32 bytes, this one has ${bytes.length}`);
  return bytes;
}

const IV_BYTES = 12;
const TAG_BYTES = 16;
const HEAD_BYTES = IV_BYTES + TAG_BYTES;
