/** A model file is broken, or holds what must not be loaded; the message is for whoever deploys the model. */
export class ModelFileError extends Error {
  override readonly name = 'ModelFileError';
}
