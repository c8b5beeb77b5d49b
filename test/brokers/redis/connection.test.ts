// What an error says, by whatever client.
import { ReplyError as IoredisReplyError } from 'ioredis'
import { ErrorReply } from 'redis'
import { test } from 'tap'
import { isMoved, isReply, isWrongServer } from '../../../lib/brokers/redis/connection.ts'

class SubclassOfReply extends ErrorReply {}

test('what the server has answered is told from what has befallen the connection', t => {
  for (const reply of [new ErrorReply('ERR'), new SubclassOfReply('ERR'), new IoredisReplyError('ERR')]) t.equal(isReply(reply), true)
  for (const none of [new Error('ERR'), new TypeError('MOVED'), null, undefined, 'ERR', { message: 'READONLY' }]) {
    t.strictSame([isReply(none), isWrongServer(none), isMoved(none)], [false, false, false])
  }
  t.end()
})

test('another connection may lead to one that may be written to, or to the node that has a slot', t => {
  const said = (message: string): [wrong: boolean, moved: boolean] => [isWrongServer(new ErrorReply(message)), isMoved(new ErrorReply(message))]
  for (const message of ['READONLY You can\'t write', 'LOADING Redis is loading', 'MASTERDOWN Link', 'CLUSTERDOWN Hash slot not served', 'NOAUTH Authentication required', '-READONLY in a script']) {
    t.strictSame(said(message), [true, false], message)
  }
  for (const message of ['MOVED 3999 127.0.0.1:6381', 'ASK 3999 127.0.0.1:6381', 'TRYAGAIN Multiple keys request']) t.strictSame(said(message), [false, true], message)
  for (const message of ['NOPERM this user', 'OOM command not allowed', 'ERR unknown command MOVED', 'WRONGTYPE', 'ASKING']) t.strictSame(said(message), [false, false], message)
  t.end()
})
