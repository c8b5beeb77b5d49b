import Router from 'find-my-way'
import { test } from 'tap'
import { toAddress } from '../../lib/asyncapi/address.ts'

test('a path of find-my-way becomes an address, and what is left out of it is told beside', async t => {
  const addresses: Array<[path: string, address: string, parameters: Array<{ name: string, key: string, [other: string]: unknown }>]> = [
    ['/', '/', []],
    ['/rooms/:id', '/rooms/{id}', [{ name: 'id', key: 'id' }]],
    ['/rooms/:id/people/:name', '/rooms/{id}/people/{name}', [{ name: 'id', key: 'id' }, { name: 'name', key: 'name' }]],
    ['/at/:id(^\\d+$)', '/at/{id}', [{ name: 'id', key: 'id', pattern: '^\\d+$' }]],
    ['/at/:hour(^\\d{2})h:minute(^\\d{2})m', '/at/{hour}h{minute}m', [
      { name: 'hour', key: 'hour', pattern: '^\\d{2}' }, { name: 'minute', key: 'minute', pattern: '^\\d{2}' }
    ]],
    ['/near/:lat-:lng/by/:r.:unit', '/near/{lat}-{lng}/by/{r}.{unit}', ['lat', 'lng', 'r', 'unit'].map(name => ({ name, key: name }))],
    ['/files/:name?', '/files/{name}', [{ name: 'name', key: 'name', isOptional: true }]],
    ['/files/*', '/files/{wildcard}', [{ name: 'wildcard', key: '*' }]],
    ['*', '/{wildcard}', [{ name: 'wildcard', key: '*' }]],
    ['/:name(^(a|b\\))+$).png', '/{name}.png', [{ name: 'name', key: 'name', pattern: '^(a|b\\))+$' }]],
    ['/rooms::close/:id::now', '/rooms:close/{id__now}', [{ name: 'id__now', key: 'id::now' }]],
    ['/a{b}/:größe', '/a%7Bb%7D/{gr__e}', [{ name: 'gr__e', key: 'größe' }]]
  ]
  for (const [path, address, parameters] of addresses) {
    t.strictSame(toAddress(path), { address, parameters }, path)
    const router = Router()
    router.on('GET', path, () => {})
    t.strictSame(parameters.map(({ key }) => key), (router as unknown as { routes: Array<{ params: string[] }> }).routes[0]!.params, `${path}, as it is read there`)
  }
})
