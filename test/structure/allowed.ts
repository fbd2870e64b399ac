/** Violations that stand for now. The list is exact: an entry whose violation is gone fails the check, so the list only shrinks. */
export const allowed: readonly string[] = [];
