// Loaded with `node --require`: at SIGUSR2 an error that carries what no log may show is thrown where nobody catches it;
// rejected, if UNCAUGHT_AS says so.
process.on('SIGUSR2', () => {
  const error = Object.assign(new Error('a bug'), { command: { args: ['S3CR3T'] } });
  if (process.env.UNCAUGHT_AS === 'rejection') Promise.reject(error);
  else throw error;
});
