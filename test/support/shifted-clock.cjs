// Loaded with `node --require`: this process believes that it is SHIFTED_CLOCK_MS later than it is, and from SIGUSR2 on
// SHIFTED_CLOCK_JUMP_MS later still. Timers and the monotonic clock are right, as on a machine whose clock is set.
const RealDate = Date;
let shiftMs = Number(process.env.SHIFTED_CLOCK_MS ?? 0);
const now = () => RealDate.now() + shiftMs;

globalThis.Date = new Proxy(RealDate, {
  construct: (target, args, newTarget) => Reflect.construct(target, args.length === 0 ? [now()] : args, newTarget),
  apply: () => new RealDate(now()).toString(),
  get: (target, name) => (name === 'now' ? now : Reflect.get(target, name)),
});

process.on('SIGUSR2', () => {
  shiftMs += Number(process.env.SHIFTED_CLOCK_JUMP_MS ?? 0);
});
