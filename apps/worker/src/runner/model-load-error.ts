/** Why a version cannot be served; the message is for the person who wrote its manifest. */
export class ModelLoadError extends Error {
  override readonly name = 'ModelLoadError';
}
