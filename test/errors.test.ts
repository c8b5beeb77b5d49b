import { test } from 'tap'
import * as catalogue from '../lib/errors.ts'
import { isWireCloseCode } from '../lib/protocol/close-code.ts'

type Maker = (...given: never[]) => Error & { code: string, closeCode?: number, statusCode?: number, headers?: object }

const { ProtocolError, HandshakeError, ConnectionClosedError, MessageError, ReaderBusyError, SchemaError, TopicsError, ...rest } = catalogue
const makers = rest as unknown as Record<string, Maker>

// code, and what the peer is told: a close code by a Close frame, a status code by a response. To a client, what it was told.
const TABLE: Record<string, [given: unknown[], code: string, told: number | undefined]> = {
  unmaskedFrame: [[], 'WS_ERR_EXPECTED_MASK', 1002],
  maskedFrame: [[], 'WS_ERR_UNEXPECTED_MASK', 1002],
  reservedBit: [[1], 'WS_ERR_UNEXPECTED_RSV_1', 1002],
  unknownOpcode: [[3], 'WS_ERR_INVALID_OPCODE', 1002],
  fragmentedControlFrame: [[9], 'WS_ERR_EXPECTED_FIN', 1002],
  oversizedControlFrame: [[], 'WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH', 1002],
  unexpectedContinuation: [[], 'WS_ERR_INVALID_OPCODE', 1002],
  expectedContinuation: [[1], 'WS_ERR_INVALID_OPCODE', 1002],
  paddedLength: [[5, 16], 'WS_ERR_INVALID_PAYLOAD_LENGTH', 1002],
  negativeLength: [[], 'WS_ERR_INVALID_PAYLOAD_LENGTH', 1002],
  unsafeLength: [[], 'WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH', 1009],
  oversizedMessage: [[6, 5], 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH', 1009],
  unexpectedEnd: [[], 'WS_ERR_UNEXPECTED_END', 1002],
  rateExceeded: [[], 'WS_ERR_RATE_LIMIT', 1013],
  invalidText: [[], 'WS_ERR_INVALID_UTF8', 1007],
  invalidDeflate: [[], 'WS_ERR_INVALID_DEFLATE', 1007],
  shortClosePayload: [[], 'WS_ERR_INVALID_CLOSE_PAYLOAD', 1002],
  invalidCloseCode: [[1005], 'WS_ERR_INVALID_CLOSE_CODE', 1002],
  invalidCloseReason: [[], 'WS_ERR_INVALID_UTF8', 1007],
  notJson: [[Buffer.from('x'), 'y'], 'FST_WS_JSON', 1007],
  binaryMessage: [[Buffer.from('x')], 'FST_WS_BINARY', 1003],
  invalidMessage: [[Buffer.from('x'), 'message must be object', []], 'FST_WS_VALIDATION', 1007],
  schemaNotBuilt: [['receive', '/a', new Error('x')], 'FST_WS_SCHEMA_BUILD', undefined],
  notWebSocket: [['receive', '/a'], 'FST_WS_SCHEMA_ROUTE', undefined],
  documentNotMade: [['/a', new Error('x')], 'FST_WS_ASYNCAPI', undefined],
  documentTooEarly: [[], 'FST_WS_ASYNCAPI', undefined],
  asyncValidator: [[], 'FST_WS_ASYNC_VALIDATOR', undefined],
  notTyped: [['messageStreams()', 'receive'], 'FST_WS_TYPED', undefined],
  notSerializable: [['x'], 'FST_WS_SERIALIZATION', undefined],
  wrongMethod: [['POST'], 'FST_WS_METHOD', 405],
  wrongHttpVersion: [['1.0'], 'FST_WS_HTTP_VERSION', 400],
  tooManyHeaderFields: [[2000], 'FST_WS_HEADERS', 431],
  wrongHost: [[2], 'FST_WS_HOST', 400],
  wrongUpgrade: [['h2c'], 'FST_WS_UPGRADE', 400],
  wrongConnection: [['close'], 'FST_WS_CONNECTION', 400],
  handshakeWithBody: [[], 'FST_WS_BODY', 400],
  wrongKey: [['x'], 'FST_WS_KEY', 400],
  wrongVersion: [['8'], 'FST_WS_VERSION', 426],
  wrongVersionOverHttp2: [['8'], 'FST_WS_VERSION', 400],
  lostUpgrade: [[undefined, 'close'], 'FST_WS_UPGRADE_REQUIRED', 426],
  lostConnect: [[], 'FST_WS_UPGRADE_REQUIRED', 400],
  endedHandshake: [[], 'FST_WS_END_STREAM', 400],
  wrongProtocolField: [['a b'], 'FST_WS_PROTOCOL', 400],
  wrongExtensionsField: [['='], 'FST_WS_EXTENSIONS', 400],
  unofferedProtocol: [['x'], 'FST_WS_HANDLE_PROTOCOLS', 500],
  declaredTooEarly: [['/a'], 'FST_WS_DECLARED_TOO_EARLY', 500],
  serverClosing: [[], 'FST_WS_CLOSING', 503],
  tooManyFromAddress: [[5], 'FST_WS_TOO_MANY_FROM_ADDRESS', 429],
  tooManyConnections: [[5], 'FST_WS_TOO_MANY_CONNECTIONS', 503],
  handshakeTimedOut: [[5], 'FST_WS_HANDSHAKE_TIMEOUT', 503],
  wrongOrigin: [['https://a.example'], 'FST_WS_ORIGIN', 403],
  otherOrigin: [['https://a.example', 'b.example', true], 'FST_WS_ORIGIN', 403],
  repeatedOrigin: [[], 'FST_WS_ORIGIN', 403],
  notVerified: [[], 'FST_WS_VERIFY_CLIENT', 401],
  admissionFailed: [[new Error('x')], 'FST_WS_ADMISSION', 500],
  socketTaken: [[], 'WS_ERR_CONNECTION_CLOSED', undefined],
  clientLeft: [[], 'WS_ERR_CONNECTION_CLOSED', undefined],
  connectTimedOut: [[5], 'FST_WS_HANDSHAKE_TIMEOUT', 504],
  proxyRefused: [['a:1', 407], 'FST_WS_PROXY', 407],
  http2Missing: [['is old'], 'FST_WS_HTTP2', 501],
  sessionWithoutRoom: [[], 'FST_WS_HTTP2', 503],
  lookUpTimedOut: [[5], 'FST_WS_HANDSHAKE_TIMEOUT', 504],
  notComingBack: [[{ code: 1008, reason: '', sent: null, cause: 'peer' }], 'WS_ERR_CONNECTION_CLOSED', 1008],
  unexpectedResponse: [[401], 'FST_WS_UNEXPECTED_RESPONSE', 401],
  wrongRedirect: [[301, 'x', 'y'], 'FST_WS_REDIRECT', 301],
  unanswered: [[Object.assign(new Error('x'), { code: 'ECONNRESET' })], 'ECONNRESET', undefined],
  wrongAccept: [['a', 'b'], 'FST_WS_ACCEPT', 101],
  unexpectedProtocol: [['x'], 'FST_WS_PROTOCOL', 101],
  unexpectedExtensions: [['x'], 'FST_WS_EXTENSIONS', 101],
  wrongServerUpgrade: [['Upgrade', 'h2c'], 'FST_WS_UPGRADE', 101],
  wrongTopic: [['a string', '5'], 'FST_WS_TOPICS_NAME', undefined],
  wrongTopicsOption: [['slow', 'a string', '5'], 'FST_WS_TOPICS_OPTION', undefined],
  unknownTopicsOption: [['slowly', ['slow']], 'FST_WS_TOPICS_OPTION', undefined],
  noTopics: [[], 'FST_WS_TOPICS_NONE', undefined],
  tooManyTopics: [[5], 'FST_WS_TOPICS_LIMIT', undefined],
  unsubscribed: [['a'], 'FST_WS_TOPICS_UNSUBSCRIBED', undefined],
  brokerDown: [['a', 'it is away'], 'FST_WS_TOPICS_BROKER_DOWN', undefined],
  brokerUncertain: [['a'], 'FST_WS_TOPICS_UNCERTAIN', undefined],
  brokerRefused: [['it', new Error('x')], 'FST_WS_TOPICS_REFUSED', undefined],
  brokerLost: [[new Error('x')], 'FST_WS_TOPICS_BROKER_LOST', undefined],
  brokerTooOld: [['Redis 6.0', '6.2'], 'FST_WS_TOPICS_BROKER_TOO_OLD', undefined],
  brokerMisconfigured: [['ws1-5', ['max_age must be 1']], 'FST_WS_TOPICS_BROKER_CONFIG', undefined],
  brokerAnswer: [['MGET'], 'FST_WS_TOPICS_BROKER_ANSWER', undefined],
  wrongBrokerOption: [['redisBroker', 'prefix', 'a string', '5'], 'FST_WS_TOPICS_OPTION', undefined],
  topicsClosed: [[], 'FST_WS_TOPICS_CLOSED', undefined],
  brokerInUse: [[], 'FST_WS_TOPICS_BROKER_IN_USE', undefined]
}
const make = (name: string, given: readonly unknown[]): ReturnType<Maker> => makers[name]!(...given as never[])

test('every error is in the table, with the code that programs know it by and what its peer is told', async t => {
  const found = Object.fromEntries(Object.keys(makers).map(name => {
    const given = TABLE[name]?.[0] ?? []
    const error = make(name, given)
    return [name, [given, error.code, error.closeCode ?? error.statusCode]]
  }))
  t.strictSame(found, TABLE)
})

test('an error of the connection has a close code that can be sent, one of the handshake a status code, and each has its class', async t => {
  for (const [name, [given, code]] of Object.entries(TABLE)) {
    const error = make(name, given)
    if (error instanceof ProtocolError) {
      t.ok(isWireCloseCode(error.closeCode) && code.startsWith(error instanceof MessageError ? 'FST_WS_' : 'WS_ERR_'), name)
    } else if (error instanceof HandshakeError) {
      t.ok(code === 'ECONNRESET' || code.startsWith('FST_WS_'), name)
    } else if (code.startsWith('FST_WS_TOPICS_')) {
      t.ok(error instanceof TopicsError || error instanceof TypeError, name)
    } else {
      t.ok(error instanceof (code.startsWith('FST_WS_') ? SchemaError : ConnectionClosedError), name)
    }
    t.equal(error.name, error.constructor.name, name)
  }
  t.match(new ReaderBusyError('x'), { name: 'ReaderBusyError', code: 'WS_ERR_READER_BUSY' })
})

test('no two errors say the same, and each says it in a line that ends without a stop', async t => {
  const messages = Object.entries(TABLE).map(([name, [given]]) => make(name, given).message)
  t.equal(new Set(messages).size, messages.length)
  for (const message of messages) t.match(message, /^[^\n]+[^.\n]$/)
})

test('RSV1 belongs to an extension of its own', async t => {
  t.strictSame([1, 2, 3].map(bit => make('reservedBit', [bit]).code), ['WS_ERR_UNEXPECTED_RSV_1', 'WS_ERR_UNEXPECTED_RSV_2_3', 'WS_ERR_UNEXPECTED_RSV_2_3'])
})

test('a value is shown in quotes, one that is not there as none, and of a long one its beginning', async t => {
  const shown = (value: string | undefined): string => make('wrongVersion', [value]).message.replace(/^.* it is /, '')
  for (const [value, expected] of [
    [undefined, 'none'], ['', '""'], ['8', '"8"'], ['a"b\r\n', String.raw`"a\"b\r\n"`],
    ['x'.repeat(64), `"${'x'.repeat(64)}"`], ['x'.repeat(65), `"${'x'.repeat(64)}..."`], ['x'.repeat(10_000), `"${'x'.repeat(64)}..."`]
  ] as const) t.equal(shown(value), expected)
})

test('what a response has to say beside its status code is with the error', async t => {
  t.strictSame(make('wrongMethod', ['POST']).headers, { allow: 'GET' })
  t.strictSame(make('wrongVersion', ['8']).headers, { 'sec-websocket-version': '13', upgrade: 'websocket', connection: 'close, Upgrade' })
  t.strictSame(make('wrongVersionOverHttp2', ['8']).headers, { 'sec-websocket-version': '13' }, 'HTTP/2 has no Upgrade')
  t.strictSame(make('lostUpgrade', [undefined, undefined]).headers, { upgrade: 'websocket', connection: 'Upgrade' })
})

test('verifyClient refuses with a status code of a refusal, or with 401', async t => {
  for (const [given, statusCode] of [[undefined, 401], [null, 401], [400, 400], [599, 599], [399, 401], [600, 401], [200, 401], [404.5, 401], [Number.NaN, 401]]) {
    t.equal(make('notVerified', [given]).statusCode, statusCode, String(given))
  }
  t.match(make('notVerified', [403, 'go away', { 'retry-after': 5, 'set-cookie': ['a', 'b'], nothing: undefined }]), {
    message: 'go away', headers: { 'retry-after': '5', 'set-cookie': ['a', 'b'] }
  })
})

test('the cause of an error is kept', async t => {
  const cause = Object.assign(new Error('Parse Error'), { code: 'HPE_INVALID_CONSTANT' })
  t.match(make('unanswered', [cause]), { cause, message: 'the opening handshake failed, as its answer is not HTTP: Parse Error' })
  t.equal(make('admissionFailed', [cause]).cause, cause)
  t.match(make('brokerRefused', ['it', cause]), { cause, message: 'the broker has refused it: Parse Error' })
  t.match(make('brokerRefused', ['it', 'why']), { cause: 'why', message: 'the broker has refused it: why' })
})

test('what came of an invalid message is with its error, and no log writes it out', async t => {
  const issues = [{ keyword: 'type', instancePath: '', schemaPath: '#/type', message: 'must be object', params: {} }]
  const error = make('invalidMessage', [Buffer.from('secret'), 'message must be object', issues, { cause: 5 }])
  t.match(error, { data: Buffer.from('secret'), validation: issues, validationContext: 'message', cause: 5 })
  t.notOk(JSON.stringify(error).includes('data'))
  t.notOk('validation' in make('notJson', [Buffer.from('x'), 'y']))
})

test('a schema that is not built names its route and direction, whatever its compiler has thrown', async t => {
  const cause = new Error('strict mode: unknown keyword: "tpye"')
  t.match(make('schemaNotBuilt', ['send', '/chat', cause]), { cause, message: 'schema.send of the WebSocket route /chat cannot be compiled: strict mode: unknown keyword: "tpye"' })
  t.match(make('schemaNotBuilt', ['receive', '/chat', 'oops']), { cause: 'oops', message: /: oops$/ })
})

test('that a connection has ended tells of which, to whoever knows that', async t => {
  const [connection, other] = [{}, {}]
  const error = new ConnectionClosedError('closed', { connection, closeCode: 1001 })
  t.strictSame([error.isOf(connection), error.isOf(other), error.closeCode], [true, false, 1001])
  t.notOk(JSON.stringify(error).includes('connection'), 'which no log writes out')
})
