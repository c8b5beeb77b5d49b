// What an echo costs along one dimension, so that no cliff hides between the rows of the table: values only.
import { echo, KIB, MIB, type Echo } from './workloads.ts'

export type CurveName = 'size' | 'connections'

interface Curve {
  readonly title: string
  readonly points: readonly Point[]
}

interface Point {
  /** Where on the axis. */
  readonly x: number
  /** As on the axis, and the name of the workload. */
  readonly name: string
}

const SIZES = [16, 64, 256, KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB]
// descriptors are the limit: the generator has one for each connection to either server
const CONNECTIONS = [1, 4, 16, 64, 256, 1_000, 4_000, 8_000]

export const CURVES: Readonly<Record<CurveName, Curve>> = {
  size: { title: 'By size of the message, one at a time on each connection', points: SIZES.map(x => ({ x, name: bytes(x) })) },
  connections: { title: 'By number of connections, each with one message of 128 B at a time', points: CONNECTIONS.map(x => ({ x, name: x.toLocaleString('en-US') })) }
}

export function workloadsOf (curve: CurveName): readonly Echo[] {
  return CURVES[curve].points.map(({ x, name }) => {
    const point = curve === 'size' ? { size: x, connections: x < 256 * KIB ? 64 : 16 } : { size: 128, connections: x }
    return { ...echo({ name, inFlight: 1, goals: {}, ...point }), peers: ['ours', 'ws'] as const }
  })
}

function bytes (size: number): string {
  return size < KIB ? `${size} B` : size < MIB ? `${size / KIB} KiB` : `${size / MIB} MiB`
}
