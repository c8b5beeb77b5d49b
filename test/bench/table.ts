import { cost, threeDigits } from './number-format.ts'
import type { Results, ServerResult, WorkloadResult } from './results.ts'
import { PEERS, type Peer, type Rival } from './workloads.ts'

/** All figures of a run as text. */
export function resultTables ({ environment, rounds, duration, workloads }: Results): string {
  const { pinning, versions } = environment
  const measured = workloads.filter(({ servers }) => servers.ours !== undefined)
  const peers = PEERS.filter(peer => measured.some(({ servers }) => servers[peer] !== undefined))
  const rivals = peers.filter(peer => peer !== 'ours')
  return [
    `Node ${environment.node}, ${environment.processor}, ${Object.entries(versions).map(entry => entry.join(' ')).join(', ')}`,
    pinning === null
      ? 'Servers and load generator are not pinned to processors: mind the spread.'
      : `Servers run on processor ${pinning.server}, the load generator on processor ${pinning.generator}.`,
    ...(environment.load > 0.5 ? [`Others were at work on this machine (load ${environment.load}): mind the spread.`] : []),
    `Medians of ${rounds} rounds of ${duration} ms in which the servers take turns.`,
    '',
    'CPU of the server per message (delivery, handshake) or memory per connection, and how many times as much the others cost:',
    'median [min to max] of the ratios within each round, and the goal.',
    '',
    columns([
      ['', 'ours', 'spread', ...rivals.map(rival => `${rival} / ours`)],
      ...measured.map(result => costRow(result, rivals, environment.node))
    ]),
    '',
    'Messages per second, round trip p50 / p99 in ms with all connections at work, and how busy the server (and the load generator) was:',
    'a server well under 100 % has waited, for the generator if that is near 100 %, else for whoever else was at work. Its messages per',
    'second are less then than it can do; its CPU per message is hardly another.',
    '',
    columns([
      ['', ...peers],
      ...measured.filter(({ kind }) => kind !== 'memory').map(result => speedRow(result, peers, environment.node))
    ]),
    ...workloads.flatMap(result => result.notes.map(note => `\n${title(result, environment.node)}: ${note}`))
  ].join('\n')
}

/** The name of a workload, and where there are several, what it ran on. */
function title ({ name, node }: WorkloadResult, nodes: string): string {
  return nodes.includes(',') ? `${name}, ${node}` : name
}

function costRow (result: WorkloadResult, rivals: readonly Rival[], nodes: string): string[] {
  const { kind, servers, ratios, goals } = result
  const ratio = (rival: Rival): string => {
    const found = ratios[rival]
    if (found === undefined) return ''
    const goal = goals[rival]
    return `${threeDigits(found.median)} [${threeDigits(found.min)} to ${threeDigits(found.max)}]${goal === undefined ? '' : ` of ${goal}`}`
  }
  const { median, min, max } = servers.ours!.cost
  return [title(result, nodes), cost(kind, median), `±${Math.round((max - min) / median / 2 * 100)} %`, ...rivals.map(ratio)]
}

function speedRow (result: WorkloadResult, peers: readonly Peer[], nodes: string): string[] {
  const { servers } = result
  return [title(result, nodes), ...peers.map(peer => servers[peer] === undefined ? '' : speed(servers[peer]))]
}

function speed ({ rate, latency, serverBusy, generatorBusy }: ServerResult): string {
  const percent = (part: number | null): string => `${Math.round(part! * 100)}`
  const roundTrip = latency === null ? '' : `  ${threeDigits(latency.p50)} / ${threeDigits(latency.p99)} ms`
  return `${Math.round(rate!).toLocaleString('en-US')}/s${roundTrip}  ${percent(serverBusy)} (${percent(generatorBusy)}) %`
}

/** The first column to the left, the others to the right. */
function columns (rows: readonly string[][]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map(row => row[column]!.length)))
  const pad = (cell: string, column: number): string => column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!)
  return rows.map(row => row.map(pad).join('  ').trimEnd()).join('\n')
}
