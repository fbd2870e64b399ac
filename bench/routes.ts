import type { Question } from './rig/question.ts';
export const routes: Question = async () => undefined;
