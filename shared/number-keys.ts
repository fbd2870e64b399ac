/** Numeric keys of a configuration: each has a range, both ends included, and a default. */
import { z } from 'zod';

type Range = readonly [min: number, max: number];

export function integer([min, max]: Range, fallback: number): z.ZodDefault<z.ZodInt> {
  return z.int().min(min).max(max).default(fallback);
}

export function decimal([min, max]: Range, fallback: number): z.ZodDefault<z.ZodNumber> {
  return z.number().min(min).max(max).default(fallback);
}
