/** The baseline's queue; its keys have BullMQ's default prefix. */
export const STOCK_QUEUE = 'stock';
