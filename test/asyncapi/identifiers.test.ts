import { test } from 'tap'
import { Identifiers, toIdentifier } from '../../lib/asyncapi/identifiers.ts'

test('a name has nothing in it that would have to be escaped', async t => {
  t.equal(toIdentifier('/rooms/{id}/chat.v1'), 'rooms_id_chat.v1')
  t.equal(toIdentifier('Größe ~1#'), 'Gr_e_1')
  t.equal(toIdentifier('/'), '')
})

test('whoever asks first gets the name, the next one a number behind it', async t => {
  const identifiers = new Identifiers(['User'])
  t.strictSame(['User', 'Room', 'User', 'Room', '/', '?'].map(name => identifiers.take(name, 'root')), ['User-2', 'Room', 'User-3', 'Room-2', 'root', 'root-2'])
})
