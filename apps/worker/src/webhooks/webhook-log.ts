/** Where webhooks log to: structured fields and a line. A pino logger is one. */
export interface WebhookLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}
