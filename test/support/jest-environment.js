import { TestEnvironment } from 'jest-environment-node';

/**
 * jest runs tests in a vm context with its own typed-array constructors; native addons (onnxruntime-node) check
 * `instanceof` against the host's. Giving the context the host's constructors lets a real session run inside a test.
 */
export default class extends TestEnvironment {
  async setup() {
    await super.setup();
    for (const name of [
      'ArrayBuffer',
      'Uint8Array',
      'Int8Array',
      'Uint16Array',
      'Int16Array',
      'Uint32Array',
      'Int32Array',
      'Float32Array',
      'Float64Array',
      'BigInt64Array',
      'BigUint64Array',
      'Uint8ClampedArray',
      'DataView',
      'Buffer',
    ]) {
      this.global[name] = globalThis[name];
    }
  }
}
