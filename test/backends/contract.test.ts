import { contract } from './contract.ts'
import { tables } from './recorded.ts'

for (const table of tables) contract(table)
