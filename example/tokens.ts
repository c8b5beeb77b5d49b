import { setTimeout } from 'node:timers/promises'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'

const INTERVAL = 60 // ms

const Ask = Type.Object({ prompt: Type.String({ minLength: 1, maxLength: 200 }) })
const Token = Type.Object({ token: Type.String() })

let lastId = 0

export function tokens (app: FastifyInstance): void {
  app.withTypeProvider<TypeBoxTypeProvider>().get('/tokens/answer', {
    websocket: true,
    schema: { receive: Ask, send: Token }
  }, async function * (connection) {
    const ask = await connection.receive() // null when the client left before it asked
    if (ask === null) return
    const id = ++lastId
    let count = 0
    tell(app, id, 'begins')
    try {
      for await (const token of generate(ask.prompt, connection.signal)) {
        yield { token } // sends it, and waits for a reader that is slow
        count++
      }
    } finally { // however the client has left: by Stop, by closing the window, by a cut of its line
      tell(app, id, `ends after ${count} tokens`)
    }
  })

  app.get('/tokens/log', { websocket: true }, async (connection) => {
    connection.resume() // nothing that comes in is of interest
    await connection.subscribe('tokens', { slow: 'skip' })
  })
}

/** Stands for a model, one that never ends by itself. The signal would go along with the request for it. */
async function * generate (prompt: string, signal: AbortSignal): AsyncGenerator<string> {
  yield `“${prompt}”, you ask.`
  for (;;) {
    for (const word of ANSWER.split(' ')) {
      await setTimeout(INTERVAL, null, { signal })
      yield ` ${word}`
    }
  }
}

function tell (app: FastifyInstance, id: number, what: string): void {
  void app.websocketServer.publish('tokens', `generator ${id} ${what}`)
}

const ANSWER = 'That is a good question, and there is no short answer to it. One may say this, and one may say that. ' +
  'A model would go on to say something about it now, word by word, for as long as anybody listens, and each word would cost something. ' +
  'So what matters is that it ends as soon as nobody does. This text has no end of its own: it begins anew.'
