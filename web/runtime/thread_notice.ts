/** The notice that a page shows if it runs on one thread although several are possible, or null. */

import type { Capabilities } from "../protocol";

export const threadNotice = ({ threadProblem }: Pick<Capabilities, "threadProblem">):
  string | null => threadProblem && `This page runs on one thread: ${threadProblem}.`;
