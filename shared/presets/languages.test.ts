import { languageRepositories } from './testing/repositories/languages.ts';
import { testTable } from './testing/table.ts';

testTable(languageRepositories);
