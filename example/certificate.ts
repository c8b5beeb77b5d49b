import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const BLOCK = /-----BEGIN ([A-Z ]+)-----[^]+?-----END \1-----\n/g

/**
 * Makes a certificate for localhost that lasts a month and is signed by itself, as browsers speak HTTP/2 over TLS alone. Needs openssl.
 * @throws what execFile() rejects with
 */
export async function makeCertificate (): Promise<{ key: string, cert: string }> {
  const { stdout } = await promisify(execFile)('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-noenc', '-days', '30', '-subj', '/CN=localhost',
    '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', '-', '-out', '-'
  ])
  const blocks = new Map(Array.from(stdout.matchAll(BLOCK), ([block, name]) => [name, block]))
  return { key: blocks.get('PRIVATE KEY')!, cert: blocks.get('CERTIFICATE')! }
}
