import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import type { RunnerOptions } from './runner.ts'
import { CURVES, workloadsOf, type CurveName } from './curves.ts'
import { nodeRuntime, THIS_NODE } from './runtimes.ts'
import { ON_REQUEST, PEERS, WORKLOADS, type Peer, type Workload } from './workloads.ts'

export const USAGE = `usage: npm run bench -- [options]

  --quick          all workloads in under a minute, roughly
  --guard          only whether ours has kept its place beside ws, with wide margins: exits with 1 if not
  --only=PATTERN   only workloads whose names this regular expression finds
  --curve=NAME     instead: what an echo costs ours and ws by 'size' of the message or by number of 'connections'
  --peers=A,B      only these beside ours. Default: ws, fastify-websocket, net. Also bun, its native server, from npm, and socket.io, where messages go to all
  --node=A,B       the servers run on these versions of Node.js, from npm, or executables, side by side. Default: the one that runs this
  --rounds=N       measurements of each server under each workload
  --json=FILE      where to write the figures
  --svg=FILE       where to write the chart
  --profile=DIR    also write a CPU profile of each server; the figures are worth less then

Without --quick, --guard, --only, --curve, --peers, --node and --profile the files are test/bench/results.json and test/bench/results.svg; with one of them
nothing is written unless a file is named.`

export interface BenchOptions extends RunnerOptions {
  readonly guard: boolean
  /** Null: the workloads of the table. */
  readonly curve: CurveName | null
  readonly workloads: readonly Workload[]
  /** Whether servers go on with the next workload. */
  readonly reuse: boolean
  /** The folder for CPU profiles. Null: none. */
  readonly profile: string | null
  /** Null: not to be written. */
  readonly json: string | null
  readonly svg: string | null
}

type Effort = Pick<BenchOptions, 'rounds' | 'duration' | 'warmUp' | 'share' | 'reuse'>

const THOROUGH: Effort = { rounds: 6, duration: 500, warmUp: 2000, share: 1, reuse: false }
const QUICK: Effort = { rounds: 4, duration: 80, warmUp: 150, share: 0.1, reuse: true }
const GUARD: Effort = { rounds: 8, duration: 250, warmUp: 500, share: 0.1, reuse: true }

/** @throws TypeError that says what is wrong */
export function benchOptions (args: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: 'boolean', default: false },
      guard: { type: 'boolean', default: false },
      only: { type: 'string' },
      curve: { type: 'string' },
      peers: { type: 'string' },
      node: { type: 'string' },
      rounds: { type: 'string' },
      json: { type: 'string' },
      svg: { type: 'string' },
      profile: { type: 'string' }
    }
  })
  const { quick, guard, only, curve: name, peers, node, rounds, json, svg, profile = null } = values
  const isWhole = !quick && !guard && only === undefined && name === undefined && peers === undefined && node === undefined && profile === null
  const curve = name === undefined ? null : knownCurve(name)
  return {
    guard,
    curve,
    workloads: curve === null ? chosenWorkloads(only === undefined ? /(?:)/ : new RegExp(only, 'i'), guard) : workloadsOf(curve),
    nodes: node === undefined ? [THIS_NODE] : node.split(',').map(nodeRuntime),
    peers: guard ? ['ours', 'ws'] : chosenPeers(peers),
    ...(guard ? GUARD : quick ? QUICK : THOROUGH),
    ...(rounds === undefined ? {} : { rounds: positiveInteger('--rounds', rounds) }),
    profile,
    json: json ?? (isWhole ? resultFile('results.json') : null),
    svg: svg ?? (isWhole ? resultFile('results.svg') : null)
  }
}

function chosenWorkloads (pattern: RegExp, guard: boolean): readonly Workload[] {
  const chosen = WORKLOADS.filter(workload => pattern.test(workload.name) && (!guard || workload.guard !== undefined))
  if (chosen.length > 0) return chosen
  throw new TypeError(`no workload is called so; there are:\n  ${WORKLOADS.map(({ name }) => name).join('\n  ')}`)
}

function knownCurve (name: string): CurveName {
  if (Object.hasOwn(CURVES, name)) return name as CurveName
  throw new TypeError(`there is no curve '${name}'; there are: ${Object.keys(CURVES).join(', ')}`)
}

function chosenPeers (list: string | undefined): readonly Peer[] {
  if (list === undefined) return PEERS.filter(peer => !ON_REQUEST.includes(peer))
  const names = list.split(',')
  const unknown = names.find(name => !PEERS.includes(name as Peer))
  if (unknown !== undefined) throw new TypeError(`there is no peer '${unknown}'`)
  return PEERS.filter(peer => peer === 'ours' || names.includes(peer))
}

function positiveInteger (option: string, text: string): number {
  if (!/^[1-9]\d*$/.test(text)) throw new TypeError(`${option} takes a positive integer, not '${text}'`)
  return Number(text)
}

/** Beside the sources: this runs in dist/test/bench. */
function resultFile (name: string): string {
  return fileURLToPath(new URL(`../../../test/bench/${name}`, import.meta.url))
}
