import { constants, deflateRawSync } from 'node:zlib'
import { test } from 'tap'
import { inflateLater, inflateNow, MAX_LAST_BLOCKS } from '../../lib/compression/inflate-message.ts'
import { hex } from '../helpers/frames.ts'

const INVALID = { name: 'ProtocolError', code: 'WS_ERR_INVALID_DEFLATE', closeCode: 1007 }
const EMPTY_LAST_BLOCK = hex('03 00')
const EMPTY_BLOCK = hex('00')

const deflate = (text: string): Buffer => deflateRawSync(text, { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4)
const lastBlocks = (count: number): Buffer => Buffer.concat([...Array<Buffer>(count).fill(EMPTY_LAST_BLOCK), EMPTY_BLOCK])

// data, what they refer back to, how much may come out, what does: null for more than that
const TABLE: Array<[title: string, data: Buffer, window: string | undefined, maxLength: number, text: string | null]> = [
  ['of one block', hex('f2 48 cd c9 c9 07 00'), undefined, Infinity, 'Hello'],
  ['that refers to the one before', hex('f2 00 11 00 00'), 'Hello', Infinity, 'Hello'],
  ['behind a window in which nothing is', hex('f2 48 cd c9 c9 07 00'), '', Infinity, 'Hello'],
  ['with a last block', hex('f3 48 cd c9 c9 07 00 00'), undefined, Infinity, 'Hello'],
  ['as long as it may be', deflate('x'.repeat(1000)), undefined, 1000, 'x'.repeat(1000)],
  ['longer by one byte', deflate('x'.repeat(1001)), undefined, 1000, null],
  ['that grows too long in its second part', Buffer.concat([deflateRawSync('ab'), deflate('cd')]), undefined, 3, null],
  ['that is empty and may be nothing else', EMPTY_BLOCK, undefined, 0, ''],
  ['that may be nothing and is a byte', deflate('x'), undefined, 0, null]
]
for (const [title, data, window, maxLength, text] of TABLE) {
  test(`a message ${title} is the same now and later`, async t => {
    const dictionary = window === undefined ? undefined : Buffer.from(window)
    for (const output of [inflateNow(data, dictionary, maxLength), await inflateLater(data, dictionary, maxLength)]) {
      t.equal(output === null ? null : String(output), text)
    }
  })
}

test('data that are no deflate, or end in their middle, are the peer\'s fault', async t => {
  for (const bytes of ['ff ff ff ff', 'f2 48 cd c9', '00 05 00 fa fe 48 65 6c 6c 6f 00', 'f2 00 11 00 00']) {
    t.throws(() => inflateNow(hex(bytes), undefined, Infinity), INVALID, bytes)
    await t.rejects(inflateLater(hex(bytes), undefined, Infinity), INVALID, bytes)
  }
})

test('a message with more than three last blocks is none for now, one with more than 256 none at all', async t => {
  t.strictSame([3, 4].map(count => inflateNow(lastBlocks(count), undefined, Infinity)?.length), [0, undefined])
  t.equal((await inflateLater(lastBlocks(MAX_LAST_BLOCKS), undefined, Infinity))?.length, 0)
  await t.rejects(inflateLater(lastBlocks(MAX_LAST_BLOCKS + 1), undefined, Infinity), INVALID)
})
