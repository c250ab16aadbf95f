import { answerParent } from '../bench-child.ts';
import { generateLoad } from './load-generator.ts';
import { loadOrder } from './load-protocol.ts';

/** The load generator's process: of its own, so that what it measures does not delay it. */
answerParent((order) => generateLoad(loadOrder.parse(order)));
