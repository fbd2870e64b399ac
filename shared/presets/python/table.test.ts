import { pythonRepositories } from '../testing/repositories/python.ts';
import { testTable } from '../testing/table.ts';

testTable(pythonRepositories);
