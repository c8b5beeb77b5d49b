// What is agreed on: offers and answers of RFC 7692 §7.1, as header field values.
import { test } from 'tap'
import { formatExtensions, parseExtensions, type Extension } from '../../lib/protocol/header-field.ts'
import { acceptOffer, createOffer, readAnswer, type DeflateAgreement, type DeflateWishes } from '../../lib/protocol/permessage-deflate.ts'

const PLAIN: DeflateWishes = { contextTakeover: false, windowBits: 15 }
const TAKEOVER: DeflateWishes = { contextTakeover: true, windowBits: 15 }
const SMALL: DeflateWishes = { contextTakeover: true, windowBits: 10 }

const list = (value: string): Extension[] => parseExtensions(value)!

/** Such as 'server 15 takeover, client 9'. */
function show (agreement: DeflateAgreement | null): string {
  if (agreement === null) return 'none'
  const { server, client } = agreement
  return [['server', server], ['client', client]].map(([name, compression]) => {
    const { windowBits, contextTakeover } = compression as DeflateAgreement['server']
    return `${name as string} ${windowBits}${contextTakeover ? ' takeover' : ''}`
  }).join(', ')
}

const BOTH_PLAIN = 'permessage-deflate; server_no_context_takeover; client_no_context_takeover'

test('a server answers the first offer that it can accept', async t => {
  for (const [offers, wishes, answer, agreed] of [
    ['permessage-deflate', PLAIN, BOTH_PLAIN, 'server 15, client 15'],
    ['permessage-deflate', TAKEOVER, 'permessage-deflate', 'server 15 takeover, client 15 takeover'],
    // Chromium, Firefox
    ['permessage-deflate; client_max_window_bits', PLAIN, BOTH_PLAIN, 'server 15, client 15'],
    ['permessage-deflate; client_max_window_bits', SMALL, 'permessage-deflate; server_max_window_bits=10; client_max_window_bits=10', 'server 10 takeover, client 10 takeover'],
    // who does not mention it cannot be told
    ['permessage-deflate', SMALL, 'permessage-deflate; server_max_window_bits=10', 'server 10 takeover, client 15 takeover'],
    ['permessage-deflate; server_no_context_takeover', TAKEOVER, 'permessage-deflate; server_no_context_takeover', 'server 15, client 15 takeover'],
    ['permessage-deflate; client_no_context_takeover', TAKEOVER, 'permessage-deflate; client_no_context_takeover', 'server 15 takeover, client 15'],
    ['permessage-deflate; server_max_window_bits=12', TAKEOVER, 'permessage-deflate; server_max_window_bits=12', 'server 12 takeover, client 15 takeover'],
    ['permessage-deflate; server_max_window_bits=15', TAKEOVER, 'permessage-deflate; server_max_window_bits=15', 'server 15 takeover, client 15 takeover'],
    ['permessage-deflate; server_max_window_bits=12; client_max_window_bits=9', SMALL, 'permessage-deflate; server_max_window_bits=10; client_max_window_bits=9', 'server 10 takeover, client 9 takeover'],
    ['permessage-deflate; server_max_window_bits=8; client_max_window_bits=8', TAKEOVER, 'permessage-deflate; server_max_window_bits=8; client_max_window_bits=8', 'server 8 takeover, client 8 takeover'],
    ['permessage-deflate; server_max_window_bits="10"', TAKEOVER, 'permessage-deflate; server_max_window_bits=10', 'server 10 takeover, client 15 takeover'],
    // fallbacks
    ['x-webkit-deflate-frame, permessage-deflate', TAKEOVER, 'permessage-deflate', 'server 15 takeover, client 15 takeover'],
    ['permessage-deflate; future=1, permessage-deflate; server_no_context_takeover', TAKEOVER, 'permessage-deflate; server_no_context_takeover', 'server 15, client 15 takeover'],
    ['permessage-deflate; server_max_window_bits=16, permessage-deflate; server_max_window_bits=9', TAKEOVER, 'permessage-deflate; server_max_window_bits=9', 'server 9 takeover, client 15 takeover']
  ] as const) {
    const accepted = acceptOffer(list(offers), wishes)
    t.equal(accepted && formatExtensions([accepted.answer]), answer, offers)
    t.equal(show(accepted?.agreement ?? null), agreed, offers)
  }
})

const WRONG = [
  'server_no_context_takeover=1', 'client_no_context_takeover=true', 'server_max_window_bits', 'future', 'future=1',
  ...['server_max_window_bits', 'client_max_window_bits'].flatMap(name =>
    ['7', '16', '0', '010', '1e1', '0x9', '+9', '9.0', '-9', '99999999999999999999', '9a'].map(value => `${name}=${value}`)),
  'server_no_context_takeover; server_no_context_takeover', 'client_max_window_bits; client_max_window_bits=10',
  'server_max_window_bits=10; server_max_window_bits=10', 'Server_No_Context_Takeover'
]

test('an offer with a parameter that is unknown, repeated or wrong is declined, and none in common is no error', async t => {
  for (const parameters of WRONG) t.equal(acceptOffer(list(`permessage-deflate; ${parameters}`), TAKEOVER), null, parameters)
  for (const offers of ['permessage-bzip2', 'x-webkit-deflate-frame', 'Permessage-Deflate']) t.equal(acceptOffer(list(offers), PLAIN), null, offers)
  t.equal(acceptOffer([], PLAIN), null)
})

test('a client offers what it wants', async t => {
  for (const [wishes, offer] of [
    [PLAIN, `${BOTH_PLAIN}; client_max_window_bits`],
    [TAKEOVER, 'permessage-deflate; client_max_window_bits'],
    [SMALL, 'permessage-deflate; server_max_window_bits=10; client_max_window_bits=10']
  ] as const) t.equal(formatExtensions([createOffer(wishes)]), offer)
})

test('a client reads the answer', async t => {
  for (const [answer, wishes, agreed] of [
    ['permessage-deflate', TAKEOVER, 'server 15 takeover, client 15 takeover'],
    ['permessage-deflate; client_no_context_takeover', TAKEOVER, 'server 15 takeover, client 15'],
    ['permessage-deflate; server_max_window_bits=8; client_max_window_bits=8', TAKEOVER, 'server 8 takeover, client 8 takeover'],
    [BOTH_PLAIN, PLAIN, 'server 15, client 15'],
    ['permessage-deflate; server_no_context_takeover', PLAIN, 'server 15, client 15'],
    ['permessage-deflate; server_max_window_bits=10', SMALL, 'server 10 takeover, client 10 takeover'],
    // what was asked for must be granted
    ['permessage-deflate', PLAIN, 'none'],
    ['permessage-deflate', SMALL, 'none'],
    ['permessage-deflate; server_max_window_bits=11', SMALL, 'none'],
    // what is no answer
    ['permessage-deflate, permessage-deflate', TAKEOVER, 'none'],
    ['permessage-bzip2', TAKEOVER, 'none'],
    ['permessage-deflate; client_max_window_bits', TAKEOVER, 'none']
  ] as const) t.equal(show(readAnswer(list(answer), wishes)), agreed, answer)
  for (const parameters of WRONG) t.equal(readAnswer(list(`permessage-deflate; ${parameters}`), TAKEOVER), null, parameters)
  t.equal(readAnswer([], TAKEOVER), null)
})
