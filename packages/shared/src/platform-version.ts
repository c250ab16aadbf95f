/** The version of every package here; a test compares it with package.json. */
export const PLATFORM_VERSION = '0.1.0';
