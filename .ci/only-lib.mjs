// usage: node .ci/only-lib.mjs FOLDER
// Of what V8 has counted, keeps what is about lib: tap's report takes all that is there.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const [folder] = process.argv.slice(2)
const lib = pathToFileURL('lib/').href

for (const name of readdirSync(folder)) {
  const file = join(folder, name)
  try {
    const counted = JSON.parse(readFileSync(file, 'utf8'))
    writeFileSync(file, JSON.stringify({ ...counted, result: counted.result.filter(({ url }) => url.startsWith(lib)) }))
  } catch {
    writeFileSync(file, '{"result":[]}') // of a process that was killed while it wrote
  }
}
