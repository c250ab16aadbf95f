export * from './open-tracer.ts';
