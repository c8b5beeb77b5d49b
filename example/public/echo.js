/* global WebSocket, crypto, performance */
import { Log, byId, element, enable, formatBytes, isOpen, isOver, routeUrl, showState, timeElement } from './panel.js'

const BINARY_LENGTH = 1024 * 1024
// getRandomValues gives no more at once
const RANDOM_LENGTH = 65536
const MAX_SHOWN_TEXT = 1000

const url = byId('echo-url')
const text = byId('echo-text')
const code = byId('echo-code')
const reason = byId('echo-reason')
const connect = byId('echo-connect')
const send = byId('echo-send')
const sendBinary = byId('echo-send-binary')
const close = byId('echo-close')
const state = byId('echo-state')
const log = new Log(byId('echo-log'))

const encoder = new TextEncoder()

let socket = null
let hasEndedWell = false
// what was sent and has not come back: { data, at }
let awaited = []

url.value = routeUrl('/echo').href
render()

byId('echo-connect-form').addEventListener('submit', (event) => {
  event.preventDefault()
  open()
})

byId('echo-send-form').addEventListener('submit', (event) => {
  event.preventDefault()
  transmit(text.value)
  text.select()
})

sendBinary.addEventListener('click', () => {
  const bytes = new Uint8Array(BINARY_LENGTH)
  for (let start = 0; start < BINARY_LENGTH; start += RANDOM_LENGTH) {
    crypto.getRandomValues(bytes.subarray(start, start + RANDOM_LENGTH))
  }
  transmit(bytes)
})

byId('echo-close-form').addEventListener('submit', (event) => {
  event.preventDefault()
  if (!code.validity.valid) {
    record('error', '', `${code.value} was not sent: a page may close with code 1000, or with 3000 to 4999.`)
    code.focus()
    return
  }
  try {
    // a reason cannot go without a code
    if (code.value || reason.value) socket.close(Number(code.value || 1000), reason.value)
    else socket.close()
  } catch (error) {
    // the browser's own limits, such as 123 bytes of reason
    record('error', '', error.message)
  }
  render()
})

byId('echo-clear').addEventListener('click', () => { log.clear() })

function open () {
  try {
    socket = new WebSocket(url.value)
  } catch (error) {
    record('error', '', error.message)
    return
  }
  socket.binaryType = 'arraybuffer'
  awaited = []
  const since = performance.now()

  socket.addEventListener('open', () => {
    record('open', '', element('span', 'mono', socket.url), note(`after ${milliseconds(performance.now() - since)}`))
    render()
    text.focus({ preventScroll: true })
  })
  socket.addEventListener('message', ({ data }) => {
    const now = performance.now()
    const sent = takeAwaited(data)
    record('message', 'in', ...describe(data), sent && note(`identical, after ${milliseconds(now - sent.at)}`))
  })
  socket.addEventListener('error', () => {
    // browsers tell a page no more than that, lest it scan the network
    record('error', '', 'The connection failed.')
  })
  socket.addEventListener('close', (event) => {
    hasEndedWell = event.wasClean
    const entry = record('close', '',
      element('span', 'mono', String(event.code)),
      event.reason ? element('q', '', element('bdi', '', event.reason)) : note('no reason'),
      note(`wasClean ${event.wasClean}`))
    Object.assign(entry.dataset, { code: event.code, reason: event.reason, wasClean: event.wasClean })
    render()
  })
  render()
}

function transmit (data) {
  if (!isOpen(socket)) return
  awaited.push({ data, at: performance.now() })
  socket.send(data)
  record('message', 'out', ...describe(data))
}

// An echo answers in order; any other server may send what it likes, which then is simply shown.
function takeAwaited (data) {
  return awaited.length > 0 && isSame(awaited[0].data, data) ? awaited.shift() : null
}

function isSame (sent, received) {
  if (typeof sent === 'string' || typeof received === 'string') return sent === received
  const bytes = new Uint8Array(received)
  return sent.length === bytes.length && sent.every((byte, index) => byte === bytes[index])
}

function describe (data) {
  if (typeof data !== 'string') return ['binary', note(formatBytes(data.byteLength))]
  const shown = data.length > MAX_SHOWN_TEXT ? `${data.slice(0, MAX_SHOWN_TEXT)}…` : data
  return [element('bdi', 'text', shown), note(formatBytes(encoder.encode(data).length))]
}

function record (kind, direction, ...details) {
  const time = timeElement(new Date(), true)
  const name = { in: 'received', out: 'sent' }[direction] ?? kind
  const entry = element('li', '', time, element('span', 'kind', name), element('span', 'details', ...details.filter(Boolean).flatMap((detail) => [detail, ' '])))
  Object.assign(entry.dataset, { kind, direction })
  log.append(entry)
  return entry
}

function note (content) {
  return element('span', 'note', content)
}

function milliseconds (duration) {
  return `${duration.toFixed(1)} ms`
}

function render () {
  showState(state, socket, hasEndedWell)
  const open = isOpen(socket)
  const over = isOver(socket)
  url.readOnly = !over
  enable([
    [connect, over],
    [send, open],
    [sendBinary, open],
    [close, !over && socket.readyState !== WebSocket.CLOSING]
  ], over ? connect : url)
}
